"""Fetches images by the million: in parallel, politely, and from where the last run stopped.

`ledger.jsonl` records the digest of every image that is complete (`tasks.data.fetch_image`), by
which a later run knows it. A host that asks for patience is left alone by all workers, one that
fails again and again is given up until the next run.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from tasks.base.params import Download
from tasks.base.progress import console, track
from tasks.data.fetch_image import PassingError, RefusedError, transfer
from unbundle.base.atomic import write_json

IN_FLIGHT = 4
"""Items handed out per worker, so that a million of them do not become a million futures."""


@dataclass(frozen=True)
class WantedImage:
    """An image to fetch: its id, which names the file, and its addresses, best first."""

    id: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: what was fetched, and from where."""

    id: str
    url: str
    sha256: str
    bytes: int


def download(items: Sequence[WantedImage], folder: Path, settings: Download) -> dict[str, str]:
    """Fetch images into `folder/images/<id>.jpg`, whatever their format.

    Images that the ledger knows are checked against it and not fetched again; one that is not as
    the ledger says is removed first. What fails does not end the run.

    Args:
        items: with distinct ids.
        folder: kept from run to run.
        settings: `catalogue.download` of the parameters.

    Returns:
        The reason by id of each image that could not be fetched, in the order of `items`; also
        written to `folder/failures.json`.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    with _Ledger(folder / "ledger.jsonl") as ledger, _Fetcher(folder, settings, ledger) as fetcher:
        for item, outcome in track(fetcher.fetch_all(items), "downloading", len(items)):
            if isinstance(outcome, Entry):
                ledger.add(outcome)
            else:
                failures[item.id] = outcome
    failures = {item.id: failures[item.id] for item in items if item.id in failures}
    write_json(folder / "failures.json", failures)
    fetched = f"{len(items) - len(failures):,} of {len(items):,} images are in {folder}"
    console.print(fetched + (f"; the others: {folder}/failures.json" if failures else ""))
    return failures


class _Ledger:
    """What was fetched in all runs; later lines win."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        self._entries = {entry.id: entry for entry in map(_parse_entry, text.splitlines()) if entry}
        self._file = path.open("a", encoding="utf-8")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def __enter__(self) -> "_Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def find(self, identifier: str, image: Path) -> Entry | None:
        """The entry of an image whose bytes are still those of the entry."""
        entry = self._entries.get(identifier)
        if entry and image.is_file() and image.stat().st_size == entry.bytes:
            return entry if _sha256(image) == entry.sha256 else None
        return None

    def add(self, entry: Entry) -> None:
        if self._entries.get(entry.id) != entry:
            self._entries[entry.id] = entry
            self._file.write(json.dumps(asdict(entry)) + "\n")
            self._file.flush()


def _parse_entry(line: str) -> Entry | None:
    try:
        return Entry(**json.loads(line))
    except (TypeError, ValueError):  # a kill cut the line off
        return None


class _Fetcher:
    """Fetches single items on many threads, which share what they learn of the hosts."""

    def __init__(self, folder: Path, settings: Download, ledger: _Ledger) -> None:
        self._images = folder / "images"
        self._settings = settings
        self._ledger = ledger
        self._stop = threading.Event()
        self._not_before: dict[str, float] = {}
        self._failures: Counter[str] = Counter()
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "unbundle"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=settings.workers))

    def __enter__(self) -> "_Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._session.close()

    def fetch_all(self, items: Sequence[WantedImage]) -> Iterator[tuple[WantedImage, Entry | str]]:
        """Fetch items in any order; a str is why an item could not be fetched."""
        queue = iter(items)
        pending: dict[Future[Entry | str], WantedImage] = {}
        with ThreadPoolExecutor(self._settings.workers) as pool:
            try:
                while True:
                    room = self._settings.workers * IN_FLIGHT - len(pending)
                    pending |= {
                        pool.submit(self._fetch, item): item for item in islice(queue, room)
                    }
                    if not pending:
                        return
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        yield pending.pop(future), future.result()
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _fetch(self, item: WantedImage) -> Entry | str:
        image = self._images / f"{item.id}.jpg"
        if entry := self._ledger.find(item.id, image):
            return entry
        image.unlink(missing_ok=True)
        reasons = []
        for url in item.urls:
            try:
                self._fetch_from(url, image)
            except (RefusedError, ValueError) as error:
                reasons.append(f"{url}: {error}")
            else:
                return Entry(item.id, url, _sha256(image), image.stat().st_size)
        return "; ".join(reasons)

    def _fetch_from(self, url: str, image: Path) -> None:
        host = urlsplit(url).netloc
        reason, pause = "", 0.0
        for attempt in range(self._settings.retries + 1):
            self._await(host, pause)
            try:
                transfer(self._session, url, image, self._settings)
            except PassingError as error:
                reason, pause = str(error), self._settings.pause_s * 2**attempt
                if error.pause is not None:
                    self._not_before[host] = time.monotonic() + self._bounded(error.pause)
            except RefusedError:
                self._failures[host] = 0
                raise
            else:
                self._failures[host] = 0
                return
        self._failures[host] += 1
        raise RefusedError(f"{reason}, {self._settings.retries + 1} times")

    def _await(self, host: str, pause: float) -> None:
        if self._failures[host] >= self._settings.give_up_after:
            raise RefusedError(f"the host failed {self._failures[host]} times in a row")
        politeness = self._not_before.get(host, 0.0) - time.monotonic()
        if self._stop.wait(self._bounded(max(pause, politeness))):
            raise RefusedError("interrupted")

    def _bounded(self, pause: float) -> float:
        return min(max(pause, 0.0), self._settings.max_pause_s)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
