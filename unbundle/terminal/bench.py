"""How long queries of photo and title take on this machine, part by part, for `unbundle bench`."""

import csv
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rich.console import Console
from rich.progress import track

from unbundle.base.errors import UserError
from unbundle.encoding.encoder import Encoded
from unbundle.index.gallery import Found
from unbundle.query.rerank import EncodedQuery, Reranked
from unbundle.query.search import ProductSearch, Question
from unbundle.vision.imaging import Photo, open_photo

PARTS = ("decode", "detector", "backbone", "capture", "search", "verify", "known", "rest")
"""`verify`: local features and re-ranking; `known`: the open-set score; `rest`: resizing, boxes,
tokens and everything else that is no network."""

TABLE = "catalogue.csv"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_QUERIES = {"dev", "test"}


@dataclass(frozen=True)
class Spread:
    """Milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Load:
    """What a number of clients saw who each ask again as soon as they are answered."""

    clients: int
    queries: int
    per_second: float
    whole: Spread
    parts: dict[str, Spread]
    """By `PARTS`."""


def read_queries(folder: Path, title: str) -> list[tuple[Path, str]]:
    """Photos and titles: a catalogue's queries (all its rows if it has none), or a folder's images.

    Args:
        folder: a catalogue, or any folder of images.
        title: of photos that have none.

    Raises:
        UserError: there is no photo.
    """
    table = folder / TABLE
    if table.is_file():
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("image")]
        asked = [row for row in rows if row.get("split") in _QUERIES] or rows
        found = [(folder / row["image"], row.get("caption") or title) for row in asked]
    else:
        photos = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        found = [(path, title) for path in sorted(photos)]
    if not found:
        raise UserError(f"{folder}: no photos; give a folder of JPEG, PNG or WebP, or a catalogue")
    return found


class Bench:
    """An opened search whose parts are timed.

    Args:
        bundle, uri, threads: as of `ProductSearch`.
    """

    def __init__(self, bundle: Path, uri: str | None, threads: int) -> None:
        self._clock = _Clock()
        with _timed_sessions(self._clock):
            self.search = _TimedSearch(bundle, uri, threads=threads)
        self.search.clock = self._clock

    def measure(
        self, queries: Sequence[tuple[Path, str]], clients: int, count: int, k: int
    ) -> Load:
        """Ask `count` queries, photos by turns, after one that is not counted."""
        asked = [queries[place % len(queries)] for place in range(count)]
        self._ask(asked[0], k)
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            laps = pool.map(partial(self._ask, k=k), asked)
            shown = track(
                laps, f"{clients} clients", count, console=Console(stderr=True), transient=True
            )
            times = list(shown)
        seconds = time.perf_counter() - begun
        parts = {part: _spread([lap[part] for lap in times]) for part in PARTS}
        whole = _spread([sum(lap.values()) for lap in times])
        return Load(clients, count, count / seconds, whole, parts)

    def _ask(self, query: tuple[Path, str], k: int) -> dict[str, float]:
        path, title = query
        self._clock.start()
        begun = time.perf_counter()
        self.search(partial(self._decode, path), title, k)
        return self._clock.lap(time.perf_counter() - begun)

    def _decode(self, path: Path) -> Photo:
        with self._clock.part("decode"):
            return open_photo(path)


class _Clock:
    """Adds up the seconds of a query's parts, which one thread answers."""

    def __init__(self) -> None:
        self._thread = threading.local()

    def start(self) -> None:
        self._thread.seconds = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        seconds = getattr(self._thread, "seconds", None)
        if seconds is not None:
            seconds[name] += time.perf_counter() - begun

    def lap(self, whole: float) -> dict[str, float]:
        seconds: dict[str, float] = self._thread.seconds
        return seconds | {"rest": whole - sum(seconds.values())}


class _TimedSearch(ProductSearch):
    clock: _Clock

    def _find(self, group: Sequence[tuple[int, Question, EncodedQuery]]) -> list[list[Found]]:
        with self.clock.part("search"):
            return super()._find(group)

    def _describe(self, photo: Photo | None, encoded: Encoded) -> EncodedQuery:
        with self.clock.part("verify"):
            return super()._describe(photo, encoded)

    def _rerank(self, asked: EncodedQuery, found: Sequence[Found]) -> list[Reranked]:
        with self.clock.part("verify"):
            return super()._rerank(asked, found)

    def _known_probabilities(
        self, asked: EncodedQuery, reranked: Sequence[Reranked]
    ) -> list[float | None]:
        with self.clock.part("known"):
            return super()._known_probabilities(asked, reranked)


@contextmanager
def _timed_sessions(clock: _Clock) -> Iterator[None]:
    """Sessions that are made in the block time their runs as the part that their file names."""
    plain = onnxruntime.InferenceSession

    class Timed(plain):  # type: ignore[misc, valid-type]
        def __init__(self, path: Path, *options: Any, **more: Any) -> None:
            super().__init__(path, *options, **more)
            self.part = Path(path).name.partition(".")[0]

        def run(self, *inputs: Any, **more: Any) -> Any:
            with clock.part(self.part):
                return super().run(*inputs, **more)

    onnxruntime.InferenceSession = Timed
    try:
        yield
    finally:
        onnxruntime.InferenceSession = plain


def _spread(seconds: Sequence[float]) -> Spread:
    middle, high = np.percentile(seconds, [50, 99]) * 1000
    return Spread(round(float(middle), 2), round(float(high), 2))
