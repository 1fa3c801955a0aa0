"""Many clients at once on a real `unbundle serve`, with a promotion in the middle.

Works on a copy of the served data. The candidate is the champion's index and bundle once more, told
apart by what they answer: its ids begin with `candidate-` and its bundle gives one box per photo.
So an answer shows which index and which model it came from, whatever it says of itself.

    python -m benchmarks.load --data data --clients 50 --seconds 180
"""

import argparse
import base64
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.performance_page import PAGE, write_section
from unbundle.encoding.model_bundle import Bundle
from unbundle.index.gallery_collection import Item
from unbundle.index.milvus_database import Database
from unbundle.terminal.bench import read_queries

PREFIX = "candidate-"
CANDIDATE = "products_0123456789ab"
PHOTOS = 16
SAMPLES = 9
"""Points in time at which memory is told."""

_READY = 120.0  # seconds for a process to start
_SECTION = "load"


@dataclass(frozen=True)
class Asked:
    """One request and what came of it.

    Attributes:
        at: seconds since the start, when it was sent.
        seconds: until its answer.
        status: 0 where the connection failed.
        source: `champion` or `candidate`, `mixed` where the answer contradicts itself, else empty.
    """

    at: float
    seconds: float
    status: int
    source: str


def add_candidate(data: Path) -> str:
    """Copy the champion below `data` into a candidate; the name of its collection."""
    with Database(str(data / "milvus.db")) as database:
        champion = database.gallery()
        bundle = data / "bundles" / champion.properties["bundle"]
        properties = {"bundle": _with_one_box(bundle)}
        made = database.create_gallery(CANDIDATE, champion.dimension, champion.columns, properties)
        for page in champion.pages():
            items = [
                Item(
                    f"{PREFIX}{hit.id}",
                    hit.label,
                    hit.caption,
                    hit.image,
                    {column: str(cell) for column, cell in hit.fields.items()},
                )
                for hit in page.hits
            ]
            made.upsert(items, page.vectors, page.keypoints)
        made.flush()
    return CANDIDATE


def _with_one_box(folder: Path) -> str:
    """Write a bundle beside the one in `folder` that gives one box per photo; its version."""
    copy = folder.with_name("candidate")
    shutil.copytree(folder, copy)
    bundle = Bundle.open(copy)
    detector = bundle.detector.model_copy(update={"max_proposals": 1})
    bundle.model_copy(update={"detector": detector}).write(copy)
    version = Bundle.open(copy).version
    copy.rename(folder.with_name(version))
    return version


class Load:
    """Clients that ask again as soon as they are answered, or when a refusal tells them to."""

    def __init__(self, url: str, queries: Sequence[tuple[Path, str]]) -> None:
        self._url = url
        self._bodies = [
            {"photo": base64.b64encode(path.read_bytes()).decode(), "caption": title}
            for path, title in queries
        ]
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            first = [client.post("/search", json=body).raise_for_status() for body in self._bodies]
        self._champion = first[0].json()["bundle"]
        self._boxes = [len(answer.json()["instances"]) for answer in first]
        # One box is what the candidate answers, too.
        several = [place for place, boxes in enumerate(self._boxes) if boxes > 1]
        self._places = several or list(range(len(first)))
        self.asked: list[Asked] = []

    def run(self, clients: int, seconds: float, middle: Callable[[], None]) -> None:
        """Ask for some seconds; call `middle` when half of them have passed."""
        begun = time.perf_counter()
        threads = [
            threading.Thread(target=self._ask_on, args=(number, begun, begun + seconds))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 2)
        middle()
        for thread in threads:
            thread.join()

    def _ask_on(self, number: int, begun: float, end: float) -> None:
        turn = number
        with httpx.Client(base_url=self._url, timeout=120, trust_env=False) as client:
            while (now := time.perf_counter()) < end:
                place = self._places[turn % len(self._places)]
                turn += 1
                wait, status, source = 0.0, 0, ""
                try:
                    answer = client.post("/search", json=self._bodies[place])
                except httpx.HTTPError:
                    pass
                else:
                    status = answer.status_code
                    wait = float(answer.headers.get("retry-after", 0))
                    source = self._source(place, answer.json()) if status == 200 else ""
                self.asked.append(Asked(now - begun, time.perf_counter() - now, status, source))
                time.sleep(wait)

    def _source(self, place: int, answer: dict[str, Any]) -> str:
        hits = [hit["id"] for seen in answer["instances"] for hit in seen["hits"]]
        candidate = answer["bundle"] != self._champion
        boxes = 1 if candidate else self._boxes[place]
        whole = (
            (answer["collection"] == CANDIDATE) == candidate
            and {identifier.startswith(PREFIX) for identifier in hits} == {candidate}
            and len(answer["instances"]) == boxes
        )
        return ("candidate" if candidate else "champion") if whole else "mixed"


class Memory:
    """Looks twice a second how much memory a process holds, while the block runs."""

    def __init__(self, process: int) -> None:
        self._status = Path(f"/proc/{process}/status")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self.megabytes: list[float] = []

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while True:
            lines = self._status.read_text(encoding="utf-8").splitlines()
            line = next(line for line in lines if line.startswith("VmRSS"))
            self.megabytes.append(int(line.split()[1]) / 1024)
            if self._stop.wait(0.5):
                return


@contextmanager
def process(*command: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process for the length of the block; ended by SIGTERM."""
    started = subprocess.Popen(command, text=True, **options)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(_READY)


@contextmanager
def shared_milvus(folder: Path) -> Iterator[str]:
    """A Milvus Lite folder served to several processes: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = (str(Path(sys.executable).parent / "milvus-lite"), "server", f"--data-dir={folder}")
    address = ("--host=127.0.0.1", f"--port={port}")
    with process(*command, *address, stdout=subprocess.DEVNULL) as server:
        wait_for(server, lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"


@contextmanager
def service(data: Path, uri: str, *options: str) -> Iterator[tuple[str, int]]:
    """A ready `unbundle serve`: its address and process id."""
    command = (sys.executable, "-m", "unbundle.cli", "serve", "--port=0", f"--uri={uri}", *options)
    with process(*command, f"--bundle={data / 'bundles'}", stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        with server.stdout:
            url = server.stdout.readline().removeprefix("unbundle listens on ").strip()
            with httpx.Client(base_url=url, timeout=_READY, trust_env=False) as client:
                client.get("/readyz").raise_for_status()
            yield url, server.pid


def wait_for(server: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """Wait until a process is ready.

    Raises:
        RuntimeError: it ended, or takes too long.
    """
    end = time.monotonic() + _READY
    while not ready():
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{server.args}: does not start")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def report(
    asked: Sequence[Asked], megabytes: Sequence[float], clients: int, seconds: float, at: float
) -> str:
    """The section as markdown.

    Args:
        asked: every request.
        megabytes: of the service, at even intervals.
        clients: at once.
        seconds: of the load.
        at: seconds after which the candidate was promoted.
    """
    done = [one for one in asked if one.status == 200]
    sources = Counter(one.source for one in done)
    answered = [one.seconds for one in done]
    refused = [one.seconds for one in asked if one.status == 503]
    late = [one for one in done if one.source == "champion" and one.at > at]
    last = max((one.at + one.seconds - at for one in late), default=0.0)
    statuses = Counter(str(one.status or "no answer") for one in asked)
    places = np.linspace(0, len(megabytes) - 1, SAMPLES).round().astype(int)
    lines = [
        f"{clients} clients for {seconds:g} s on `unbundle serve`, {os.cpu_count()} cores "
        f"({platform.machine()}) shared with the clients and with Milvus Lite in a process of its "
        f"own; a promotion after {at:.0f} s (`python -m benchmarks.load`).",
        "",
        "| status | requests | p50 ms | p99 ms |",
        "| --- | --- | --- | --- |",
        *(
            f"| {status} | {count:,} | {_quantile(of, 50)} | {_quantile(of, 99)} |"
            for status, count in sorted(statuses.items())
            for of in [{"200": answered, "503": refused}.get(status, [])]
        ),
        "",
        "| answered by | answers |",
        "| --- | --- |",
        f"| the champion | {sources['champion']:,} |",
        f"| the candidate, from its promotion on | {sources['candidate']:,} |",
        f"| a mix of both | {sources['mixed']:,} |",
        "",
        f"The last answer of the old champion to a request sent after the promotion came "
        f"{last:.1f} s after it.",
        "",
        f"| of the time | {' | '.join(f'{100 * n // (SAMPLES - 1)} %' for n in range(SAMPLES))} |",
        f"| --- {'| --- ' * SAMPLES}|",
        f"| resident memory, MB | {' | '.join(f'{megabytes[place]:.0f}' for place in places)} |",
        "",
        f"At most {max(megabytes):.0f} MB; {len(done) / seconds:.1f} answers a second.",
    ]
    return "\n".join(lines)


def _quantile(seconds: Sequence[float], percent: int) -> str:
    return f"{1000 * float(np.percentile(seconds, percent)):,.0f}" if len(seconds) else "-"


def measure(data: Path, clients: int, seconds: float, options: Sequence[str] = ()) -> str:
    """Run the load on a copy of `data`; the section as markdown."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for name in ("milvus.db", "bundles"):
            shutil.copytree(data / name, copy / name)
        candidate = add_candidate(copy)
        with shared_milvus(copy / "milvus.db") as uri, service(copy, uri, *options) as (url, pid):
            load = Load(url, read_queries(data / "catalogue", "")[:PHOTOS])
            promoted: list[float] = []

            def promote() -> None:
                with Database(uri) as database:
                    database.promote(candidate)
                promoted.append(time.perf_counter() - begun)

            with Memory(pid) as memory:
                begun = time.perf_counter()
                load.run(clients, seconds, promote)
            return report(load.asked, memory.megabytes, clients, seconds, promoted[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the section and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="bundles, index, photos")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--page", type=Path, default=PAGE, help="markdown file with the section")
    options = parser.parse_args(arguments)
    text = measure(options.data, options.clients, options.seconds)
    print(text)
    write_section(_SECTION, text, options.page)


if __name__ == "__main__":
    main()
