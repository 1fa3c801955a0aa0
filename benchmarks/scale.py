"""How search and ingestion grow with the catalogue: Milvus Lite, or the server of MILVUS_URI.

    python -m benchmarks.scale --sizes 10000,100000
    python -m benchmarks.milvus_server data/milvus-server -- \
        python -m benchmarks.scale --sizes 10000,100000,1000000

Every size is a collection of its own, filled and asked through
`unbundle.index.gallery_collection`, in ascending order, dropped before the next. A size that was
measured stays in `reports/scale/` and is not measured again; one that was interrupted goes on where
its rows end. The table of all of them goes to `docs/performance.md`. Vectors are those of
`benchmarks.synthetic_embeddings` in the layout of a bundle.

- insert: rows a second through `Gallery.insert`, vectors given; `of raw`: that rate over the rate
  of `MilvusClient.insert` with the same rows, in turns; the median batch of each counts.
- index: seconds from the last row until every row is sealed, indexed and loaded.
- recall@10: of `Gallery.search` against all inner products in numpy.
- p50, p99: milliseconds of `Gallery.search_products` for ten products, one vector a call, by one
  client and by 16 threads of one process.
- ef: the list length of a search; a table of its own tells what it gives and costs.
- memory: of the server, or of the process that has Lite open, at the end and at its most while
  filling; disk: of the data, the server's log of writes included.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer

from benchmarks.performance_page import PAGE, write_section
from benchmarks.synthetic_embeddings import CHUNK, VIEWS, Embeddings
from tasks.base.digests import digest
from tasks.base.params import load_params
from tasks.base.progress import track
from unbundle.base.atomic import write_json
from unbundle.encoding.model_bundle import Bundle, EmbeddingSettings
from unbundle.index.columns import Column
from unbundle.index.gallery_collection import Gallery, Item
from unbundle.index.milvus_database import Database, Hnsw, address, is_lite
from unbundle.ranking.embedding_parts import Vectors

COLUMNS = (Column("brand", "brand", numeric=False), Column("price", "price", numeric=True))
K = 10
QUERIES = 300
TIMED = 160
"""Of the queries; a multiple of the clients."""
CLIENTS = 16
EFS = (64, 128, 192, 256, 512)
COMPARED = 16_000
"""Rows that are written in both ways for `of raw`."""
KEYPOINTS = "A" * 11_000
"""What they hold of keypoints: about as much as the demo's photos have."""

_WARM = 20
_POLL = 1.0  # seconds
_CALM = 10  # polls without a change of segments
_PATIENCE = 3 * 3600  # seconds


@dataclass(frozen=True)
class Measured:
    """One size at one place; a row of the table."""

    place: str
    rows: int
    dimension: int
    index: dict[str, str | int]
    segments: int
    batch: int
    rows_per_second: float
    of_raw: float
    index_seconds: float
    recall: float
    one: tuple[float, float]
    """p50 and p99 in ms of one client."""
    many: tuple[float, float]
    """The same of `CLIENTS` clients."""
    per_second: float
    """Answers to `CLIENTS` clients."""
    memory: float
    """MB at the end."""
    most_memory: float
    """MB while filling."""
    disk: float
    """MB."""
    by_ef: dict[str, tuple[float, float]]
    """recall@10, and p50 in ms of `Gallery.search`, by `ef`; empty where search is exact."""


@dataclass(frozen=True)
class Task:
    """What to fill and ask; travels to the processes that do."""

    uri: str
    rows: int
    batch: int
    settings: EmbeddingSettings
    hnsw: Hnsw

    @property
    def name(self) -> str:
        """Of the collection."""
        key = digest(self.rows, self.settings.model_dump_json(), json.dumps(asdict(self.hnsw)))
        return f"products_{key[:12]}"


def items(start: int, count: int) -> list[Item]:
    """Rows as a catalogue has them: a label for every `VIEWS` photos, a title, two columns."""
    return [
        Item(
            id=f"p{row:08d}",
            label=f"product {row // VIEWS}",
            caption=f"霜 {row // VIEWS} 保湿修护补水面霜套装女 官方旗舰店正品 50ml",
            image=f"images/{row // 1000}/p{row:08d}.jpg",
            columns={"brand": f"brand {row // VIEWS % 997}", "price": str(10 + row // VIEWS % 490)},
        )
        for row in range(start, start + count)
    ]


def fill(task: Task) -> dict[str, Any]:
    """Write the rows, wait for the index, and find the true neighbours of the queries."""
    embeddings = Embeddings(task.settings)
    chunks = task.rows // CHUNK
    each = -(-QUERIES // chunks)
    asked: list[Vectors] = []
    seconds, written = 0.0, 0
    with Database(task.uri, create=True) as database:
        _forget_peak(task.uri)
        gallery = _create(database, task.name, task)
        compared = _compare(database, gallery, embeddings, task)
        # At least one chunk is written, so that there is a rate.
        done = min(gallery.count() // CHUNK, chunks - 1)
        for number in track(range(chunks), f"{task.rows:,} rows", chunks):
            rows, queries = embeddings.chunk(number, each)
            asked.append(queries)
            if number >= done:
                seconds += _write(gallery, rows, number * CHUNK, task.batch)
                written += CHUNK
        started = time.monotonic()
        gallery.flush()
        segments = 1 if is_lite(task.uri) else _settle(database, gallery, task.rows)
        index_seconds = time.monotonic() - started
    queries = np.concatenate(asked)[:QUERIES]
    # A pass of its own, so that a fill that was resumed knows them, too.
    truth = true_neighbours(embeddings, chunks, queries)
    return {
        "queries": queries,
        "truth": truth,
        "segments": segments,
        "rows_per_second": written / seconds,
        "of_raw": compared,
        "index_seconds": index_seconds,
        "most_memory": _memory(task.uri, "peak"),
    }


def true_neighbours(embeddings: Embeddings, chunks: int, queries: Vectors) -> list[set[str]]:
    """The ids of the `K` rows of greatest inner product with each query."""
    scores = np.empty((len(queries), 0), np.float32)
    places = np.empty((len(queries), 0), np.int64)
    for number in track(range(chunks), "exact search", chunks):
        rows, _ = embeddings.chunk(number)
        found = np.arange(number * CHUNK, (number + 1) * CHUNK)[None].repeat(len(queries), 0)
        scores = np.concatenate([scores, queries @ rows.T], axis=1)
        places = np.concatenate([places, found], axis=1)
        best = np.argpartition(-scores, K - 1, axis=1)[:, :K]
        scores = np.take_along_axis(scores, best, axis=1)
        places = np.take_along_axis(places, best, axis=1)
    return [{f"p{row:08d}" for row in best} for best in places]


def ask(task: Task, queries: Vectors, truth: list[set[str]]) -> dict[str, Any]:
    """Recall and times, in a process that did not fill."""
    with Database(task.uri) as database:
        gallery = database.gallery(task.name)
        recall = recall_at(gallery, queries, truth)
        one = _times(gallery, queries[:TIMED], clients=1)
        started = time.monotonic()
        many = _times(gallery, queries[:TIMED], clients=CLIENTS)
        per_second = len(many) / (time.monotonic() - started)
        version = database.version
        return {
            "place": version.replace("milvus_lite-", "Lite ").removesuffix("-lite"),
            "index": dict(gallery.index),
            "recall": recall,
            "one": _percentiles(one),
            "many": _percentiles(many),
            "per_second": per_second,
            "memory": _memory(task.uri, "now"),
            "disk": _disk(task.uri),
            "by_ef": {} if is_lite(task.uri) else _sweep(gallery, queries, truth),
        }


def recall_at(gallery: Gallery, queries: Vectors, truth: list[set[str]]) -> float:
    """Mean share of the true `K` nearest rows that a search finds."""
    found = gallery.search(queries, K)
    shares = [
        len({hit.id for hit in hits} & best) / K for hits, best in zip(found, truth, strict=True)
    ]
    return float(np.mean(shares))


def _sweep(
    gallery: Gallery, queries: Vectors, truth: list[set[str]]
) -> dict[str, tuple[float, float]]:
    found = {}
    for ef in EFS:
        gallery.index["ef"] = ef
        recall = recall_at(gallery, queries, truth)
        seconds = []
        for vector in queries[:TIMED]:
            began = time.perf_counter()
            gallery.search(vector[None], K)
            seconds.append(time.perf_counter() - began)
        found[str(ef)] = (recall, 1000 * float(np.median(seconds)))
    return found


def _create(database: Database, name: str, task: Task) -> Gallery:
    dimension = sum(task.settings.dimensions)
    return database.create_gallery(name, dimension, COLUMNS, {"bundle": "synthetic"}, task.hnsw)


def _write(gallery: Gallery, rows: Vectors, first: int, batch: int) -> float:
    seconds = 0.0
    for start in range(0, len(rows), batch):
        vectors = rows[start : start + batch]
        named = items(first + start, len(vectors))
        began = time.perf_counter()
        gallery.insert(named, vectors)
        seconds += time.perf_counter() - began
    return seconds


def _compare(database: Database, gallery: Gallery, embeddings: Embeddings, task: Task) -> float:
    """Our rate over that of a bare insert loop, into two new collections."""
    ours, raw = "products_" + "0" * 12, "products_" + "1" * 12
    for name in (ours, raw):
        database.client.drop_collection(name)
    target = _create(database, ours, task)
    _create(database, raw, task)
    rows = np.concatenate([embeddings.chunk(number)[0] for number in range(-(-COMPARED // CHUNK))])
    seconds: dict[str, list[float]] = {"ours": [], "raw": []}

    def insert(start: int, named: list[Item], vectors: Vectors) -> None:
        entities = [
            {
                "id": item.id,
                "vector": vector,
                "label": item.label,
                "caption": item.caption,
                "image": item.image,
                "brand": item.columns["brand"],
                "price": float(item.columns["price"]),
                "digest": item.digest,
                "source": item.source,
                "keypoints": KEYPOINTS,
            }
            for item, vector in zip(named, vectors, strict=True)
        ]
        database.client.insert(raw, entities)

    def through_gallery(start: int, named: list[Item], vectors: Vectors) -> None:
        target.insert(named, vectors, [KEYPOINTS] * len(named))

    ways: list[tuple[str, Callable[[int, list[Item], Vectors], None]]] = [
        ("ours", through_gallery),
        ("raw", insert),
    ]
    for turn, start in enumerate(range(0, min(COMPARED, task.rows), task.batch)):
        vectors = rows[start : start + task.batch]
        named = items(start, len(vectors))
        # Whoever goes first meets a colder cache, so they take turns at that, too.
        for way, write in ways[:: 1 if turn % 2 else -1]:
            began = time.perf_counter()
            write(start, named, vectors)
            seconds[way].append(time.perf_counter() - began)
    for name in (ours, raw):
        database.client.drop_collection(name)
    return float(np.median(seconds["raw"]) / np.median(seconds["ours"]))


def _settle(database: Database, gallery: Gallery, rows: int) -> int:
    """Wait until the server has every row in an indexed segment; return how many segments."""
    # `pending` alone is not enough: an indexed segment is searched once it is loaded, too.
    before: set[int] = set()
    calm, end = 0, time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        loaded = database.client.list_loaded_segments(gallery.name)
        segments = {segment.segment_id for segment in loaded}
        whole = sum(segment.num_rows for segment in loaded) == rows
        indexed = all(segment.index_name for segment in loaded)
        calm = calm + 1 if whole and indexed and segments == before else 0
        if calm >= _CALM:
            return len(segments)
        before = segments
        time.sleep(_POLL)
    raise TimeoutError(f"{gallery.name}: not indexed in {_PATIENCE} s")


def _times(gallery: Gallery, queries: Vectors, clients: int) -> list[float]:
    """Milliseconds of single queries, of all clients together."""
    start = threading.Barrier(clients)

    def client(number: int) -> list[float]:
        mine = queries[number::clients]
        for vector in mine[: _WARM // clients + 1]:
            gallery.search_products(vector[None], K)
        start.wait()
        return list(_clocked(gallery, mine))

    with ThreadPoolExecutor(clients) as pool:
        return [time for times in pool.map(client, range(clients)) for time in times]


def _clocked(gallery: Gallery, queries: Vectors) -> Iterator[float]:
    for vector in queries:
        began = time.perf_counter()
        gallery.search_products(vector[None], K)
        yield 1000 * (time.perf_counter() - began)


def _percentiles(times: list[float]) -> tuple[float, float]:
    p50, p99 = np.percentile(times, [50, 99])
    return float(p50), float(p99)


def _process(uri: str) -> psutil.Process:
    if is_lite(uri):
        return psutil.Process()
    return next(one for one in psutil.process_iter() if one.name() == "milvus")


def _memory(uri: str, when: str) -> float:
    key = {"now": "VmRSS", "peak": "VmHWM"}[when]
    status = Path(f"/proc/{_process(uri).pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1000


def _forget_peak(uri: str) -> None:
    Path(f"/proc/{_process(uri).pid}/clear_refs").write_text("5")


def _disk(uri: str) -> float:
    folder = Path(uri) if is_lite(uri) else Path(_process(uri).cwd()) / "data"
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6


def table(measured: list[Measured]) -> str:
    """All that was measured, as Markdown."""
    dimensions = sorted({one.dimension for one in measured})
    lines = [
        "## Scale",
        "",
        f"`python -m benchmarks.scale`; vectors of {' and '.join(map(str, dimensions))} numbers, "
        f"{os.cpu_count()} cores. See the module for what each column is.",
        "",
        "| Milvus | rows | index | segments | insert rows/s | of raw | index s | recall@10 "
        "| p50 / p99 ms, 1 client | 16 clients | answers/s | memory MB, most | disk MB |",
        "| --- |" + " ---: |" * 12,
    ]
    for one in measured:
        index = "exact"
        if one.index["type"] == "HNSW":
            index = "HNSW " + "/".join(
                str(one.index[key]) for key in ("m", "ef_construction", "ef")
            )
        cells = (
            f"{one.place} × {one.dimension}",
            f"{one.rows:,}",
            index,
            str(one.segments),
            f"{one.rows_per_second:,.0f}",
            f"{one.of_raw:.2f}",
            f"{one.index_seconds:,.0f}",
            f"{one.recall:.4f}",
            f"{one.one[0]:.1f} / {one.one[1]:.1f}",
            f"{one.many[0]:.0f} / {one.many[1]:.0f}",
            f"{one.per_second:,.0f}",
            f"{one.memory:,.0f}, {one.most_memory:,.0f}",
            f"{one.disk:,.0f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _choice(measured) + _growth(measured)


def _choice(measured: list[Measured]) -> str:
    approximate = [one for one in measured if one.by_ef]
    if not approximate:
        return ""
    lines = [
        "",
        "recall@10 by `ef`, and the p50 of `Gallery.search` in ms:",
        "",
        "| Milvus | rows | " + " | ".join(map(str, EFS)) + " |",
        "| --- |" + " ---: |" * (len(EFS) + 1),
    ]
    for one in approximate:
        cells = (f"{recall:.4f}, {p50:.1f}" for recall, p50 in one.by_ef.values())
        lines.append(f"| {one.place} × {one.dimension} | {one.rows:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _growth(measured: list[Measured]) -> str:
    found = ""
    for small in measured:
        for large in measured:
            same = (small.place, small.dimension) == (large.place, large.dimension)
            if same and (small.rows, large.rows) == (10_000, 1_000_000):
                ratio = large.one[0] / small.one[0]
                found += f"\n{large.place}: p50 of 1M is {ratio:.1f} × that of 10k.\n"
    return found


def read(folder: Path) -> list[Measured]:
    """What was measured so far, the smallest first."""
    found = []
    for path in folder.glob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        values |= {key: tuple(values[key]) for key in ("one", "many")}
        found.append(Measured(**values))
    return sorted(found, key=lambda one: (one.place, one.dimension, one.rows))


def measure(task: Task) -> Measured:
    """Fill and ask one size, each in a process of its own."""
    context = get_context("spawn")
    with context.Pool(1) as pool:
        filled = pool.apply(fill, (task,))
    with context.Pool(1) as pool:
        answered = pool.apply(ask, (task, filled.pop("queries"), filled.pop("truth")))
    values = filled | answered
    values |= {"rows": task.rows, "dimension": sum(task.settings.dimensions), "batch": task.batch}
    return Measured(**{field.name: values[field.name] for field in fields(Measured)})


def main(
    sizes: Annotated[str, typer.Option(help="Rows, joined by commas; multiples of 10,000.")],
    bundle: Annotated[Path, typer.Option(help="Whose layout to take.")] = Path("artifacts/bundle"),
    part: Annotated[int, typer.Option(help="Numbers in each part; 0: as the bundle has.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one call while filling.")] = 200,
    reports: Annotated[Path, typer.Option(help="Keeps what was measured.")] = Path("reports/scale"),
    write: Annotated[Path, typer.Option(help="The page of the table.")] = PAGE,
) -> None:
    """Measure the sizes that are not measured yet, and write the table."""
    uri = address("data/scale.db")
    hnsw = Hnsw(**load_params(Path("params.yaml")).ingest.hnsw.model_dump())
    settings = Bundle.open(bundle).embedding
    if part:
        settings = settings.model_copy(update={"dimensions": (part,) * len(settings.parts)})
    for rows in sorted(int(size) for size in sizes.split(",")):
        task = Task(uri, rows, batch, settings, hnsw)
        report = reports / f"{'lite' if is_lite(uri) else 'server'}-{task.name}.json"
        if report.exists():
            print(f"{rows:,} rows: measured before, see {report}")
            continue
        one = measure(task)
        write_json(report, asdict(one))
        with Database(uri) as database:
            database.client.drop_collection(task.name)
        print(table([one]))
    write_section("scale", table(read(reports)), write)


if __name__ == "__main__":
    typer.run(main)
