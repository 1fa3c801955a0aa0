"""How long queries of photo and title take on this machine, part by part, for `unbundle bench`."""

import csv
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from unbundle.base.errors import UserError
from unbundle.encoding.query_observer import Observer, SpanName
from unbundle.query.search import ProductSearch, Question

PARTS = ("decode", "detector", "backbone", "capture", "search", "verify", "known", "rest")
"""Spans of `encoding.span_observer`, and the `rest`: resizing, boxes, tokens and all else."""

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


class _Clock(Observer):
    """Adds up the seconds of one query's parts."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def span(self, name: SpanName) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - begun


def measure(
    search: ProductSearch, queries: Sequence[tuple[Path, str]], clients: int, count: int, k: int
) -> Load:
    """Ask `count` queries, photos by turns, after one that is not counted.

    Args:
        search: that answers.
        queries: photos and titles.
        clients: that ask at once.
        count: of all clients together.
        k: products per instance.
    """
    asked = [queries[place % len(queries)] for place in range(count)]
    _lap(asked[0], search, k)
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        laps = pool.map(partial(_lap, search=search, k=k), asked)
        shown = track(
            laps, f"{clients} clients", count, console=Console(stderr=True), transient=True
        )
        times = list(shown)
    seconds = time.perf_counter() - begun
    parts = {part: _spread([lap[part] for lap in times]) for part in PARTS}
    whole = _spread([sum(lap.values()) for lap in times])
    return Load(clients, count, count / seconds, whole, parts)


def _lap(query: tuple[Path, str], search: ProductSearch, k: int) -> dict[str, float]:
    """Seconds of one query by `PARTS`."""
    path, title = query
    clock, begun = _Clock(), time.perf_counter()
    search.ask(Question(path, title, k), clock)
    whole = time.perf_counter() - begun
    return clock.seconds | {"rest": whole - sum(clock.seconds.values())}


def _spread(seconds: Sequence[float]) -> Spread:
    middle, high = np.percentile(seconds, [50, 99]) * 1000
    return Spread(round(float(middle), 2), round(float(high), 2))
