"""One collection of product vectors: rows in, nearest products out."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unbundle.base.catalogue_cells import ID_LENGTH, ID_PATTERN
from unbundle.base.errors import UserError
from unbundle.index.columns import (
    FIXED_FIELDS,
    KEYPOINTS,
    TEXT_BYTES,
    TRACE_LENGTH,
    TRACES,
    Column,
    clip,
    is_number,
    load_columns,
)
from unbundle.index.filters import Filters, compile_filters, literal
from unbundle.index.pymilvus_client import MilvusClient

if TYPE_CHECKING:
    # OpenCV, which a caller that never re-ranks can spare.
    from unbundle.vision.geometric_verification import Evidence

Vectors = NDArray[np.float32]

VECTOR = "vector"
METRIC = "IP"
TIMEOUT = 60.0
"""Seconds for one call: without it pymilvus waits for ever."""

MOST_QUERIES = 64
"""Vectors of one call: Lite's cost is a loop over its keys once per call."""

MOST_HITS = 16384
"""A server's limit for one list of hits."""

_OVERFETCH = 4  # rows asked for per product wanted: most products have a few photos
_PAGE = 1000  # rows per call when everything is read
_UNIT_TOLERANCE = 1e-3
_LIVE = "live"
_ROWS = "rows"


class LostRowsError(UserError):
    """A collection whose rows are not those that its ingestion wrote."""


@dataclass(frozen=True)
class Item:
    """One gallery photo as it enters the index."""

    id: str
    label: str
    caption: str
    image: str
    columns: Mapping[str, str] = field(default_factory=dict)
    """Cells of the catalogue's own columns by column name."""
    digest: str = ""
    """See `RowOrigin`."""
    source: str = ""
    """See `RowOrigin`."""


@dataclass(frozen=True)
class RowOrigin:
    """What a row was made from."""

    digest: str
    """Of its item and photo, see `content_digest`."""
    source: str
    """`digest` of the source catalogue's row when it was last read; empty where the source has
    none. It differs from `digest` where a client of the service changed the row."""


Entity = dict[str, Any]
"""A row as Milvus takes it."""


@dataclass(frozen=True)
class Hit:
    """One gallery photo as an answer."""

    id: str
    label: str
    """The product; empty where the catalogue does not say."""
    score: float
    """Inner product of unit vectors, -1 to 1, and what re-ranking adds."""
    caption: str
    image: str
    """Path relative to the catalogue's folder."""
    fields: dict[str, str | float | None] = field(default_factory=dict)
    """Cells of the catalogue's own columns by column name; None for a number that is not there."""
    inliers: int | None = None
    """Keypoints of the instance that were found again on the photo; None where none were looked
    for."""

    @property
    def product(self) -> str:
        """What results are grouped by: the label, or the photo itself where it is unknown."""
        return self.label or self.id


@dataclass(frozen=True)
class Rows:
    """Rows of a gallery; all of them are by id ascending."""

    hits: tuple[Hit, ...]
    """The rows without a score (0)."""
    vectors: Vectors
    """`[N, D]`, unit rows."""
    keypoints: tuple[str, ...]
    """Packed, of each row; empty texts where the index has none."""

    @property
    def ids(self) -> list[str]:
        """Ids, ascending."""
        return [hit.id for hit in self.hits]


@dataclass(frozen=True)
class Stored:
    """What the index holds of a photo beside its row."""

    vector: Vectors
    """`[D]`, of length 1."""
    keypoints: str
    """See `unbundle.vision.keypoints`; empty where the index has none."""


@dataclass(frozen=True)
class Neighbours:
    """What lies nearest to a query vector, as the index finds it or re-ranked."""

    products: list[Hit]
    """The best photo of each product, best first; at least as many as were asked for, where the
    gallery or the filter has so many."""
    photos: list[Hit]
    """Photos, whatever they show, best first."""
    stored: Mapping[str, Stored] = field(default_factory=dict)
    """By id, of the photos that were verified, and perhaps of others; empty before re-ranking, and
    for a title alone."""
    evidence: Mapping[str, "Evidence"] = field(default_factory=dict)
    """By id, of the photos that were verified."""


class Gallery:
    """A loaded collection; `Database.gallery` and `Database.create_gallery` make it.

    Attributes:
        name: of the collection, never an alias.
        place: the address, for messages.
        properties: lineage: `bundle` and whatever evaluation added.
        columns: the catalogue's columns in this index.
        dimension: of the vectors.
        index: `{"type": "FLAT"}` or `{"type": "HNSW", "m": …}`, each with its metric.
        traced: whether its rows tell what they were made from; an older one's do not.
        verifiable: whether its rows have keypoints; an older one's have not.

    Raises:
        UserError: the collection has not the fields that `Database.create_gallery` makes.
    """

    def __init__(self, client: MilvusClient, name: str, place: str) -> None:
        self._client = client
        self.place = place
        self.name = name
        about = client.describe_collection(name, timeout=TIMEOUT)
        self.properties: dict[str, str] = dict(about["properties"])
        vector = next((entry for entry in about["fields"] if entry["name"] == VECTOR), None)
        if vector is None or not {"columns", "index"} <= set(self.properties):
            raise UserError(f"{place}: collection {name} is none of unbundle; give another name")
        self.dimension = int(vector["params"]["dim"])
        self.columns: tuple[Column, ...] = load_columns(self.properties["columns"])
        self.index: dict[str, str | int] = json.loads(self.properties["index"])
        fields = {entry["name"] for entry in about["fields"]}
        self.traced, self.verifiable = set(TRACES) <= fields, KEYPOINTS in fields
        self._check_metric()
        client.load_collection(name, timeout=TIMEOUT)

    def upsert(
        self, items: Sequence[Item], vectors: Vectors, keypoints: Sequence[str] = ()
    ) -> None:
        """Write rows; one with a known id replaces the old one.

        Args:
            items: the rows.
            vectors: `[N, D]`, one unit row per item.
            keypoints: of each item, packed; none: photos that no query is verified on.

        Raises:
            UserError: an id, label or image path that an index cannot hold.
            ValueError: vectors of another shape, not finite or not of length 1.
        """
        self.write(self.entities(items, vectors, keypoints))

    def insert(
        self, items: Sequence[Item], vectors: Vectors, keypoints: Sequence[str] = ()
    ) -> None:
        """Write rows as `upsert` does, of ids that are not there: a server need not delete."""
        entities = self.entities(items, vectors, keypoints)
        self._client.insert(self.name, entities, timeout=TIMEOUT)
        self.__dict__.pop("rows", None)

    def entities(
        self, items: Sequence[Item], vectors: Vectors, keypoints: Sequence[str] = ()
    ) -> list[Entity]:
        """Check rows as `upsert` does, and write nothing."""
        self._check_vectors(vectors)
        keypoints = keypoints or [""] * len(items)
        if not len(items) == len(vectors) == len(keypoints):
            raise ValueError(f"{len(items)} items, {len(vectors)} vectors, {len(keypoints)} texts")
        return [
            self._row(*row)
            for row in zip(items, vectors.astype(np.float32), keypoints, strict=True)
        ]

    def write(self, entities: Sequence[Entity]) -> None:
        """Write what `entities` made."""
        if entities:
            self._client.upsert(self.name, list(entities), timeout=TIMEOUT)
            self.__dict__.pop("rows", None)

    def delete(self, identifiers: Sequence[str]) -> None:
        """Delete rows; an id that is not there is no error."""
        for start in range(0, len(identifiers), _PAGE):
            wanted = _among(identifiers[start : start + _PAGE])
            self._client.delete(self.name, filter=wanted, timeout=TIMEOUT)
        self.__dict__.pop("rows", None)

    def misfit(self, item: Item) -> str:
        """Why this index cannot hold a row; empty where it can."""
        if not re.fullmatch(ID_PATTERN, item.id):
            return f"id {item.id!r}: expected 1 to {ID_LENGTH} letters, digits or _.:-"
        for key, text in (("label", item.label), ("image", item.image)):
            if len(text.encode()) > TEXT_BYTES:
                return f"id {item.id}: {key} longer than {TEXT_BYTES} bytes; shorten it"
        for column in self.columns:
            if column.name not in item.columns:
                return f"id {item.id}: no {column.name}, a column of {self.name}; give it"
            if column.numeric and not is_number(item.columns[column.name]):
                found = clip(repr(item.columns[column.name]), 80)
                return f"id {item.id}: {column.name} {found}: expected a number or nothing"
        return ""

    def traces(self, identifiers: Sequence[str]) -> dict[str, RowOrigin]:
        """What rows were made from, by id; everything acknowledged included.

        Raises:
            UserError: the collection does not tell.
        """
        self._check_traced()
        return {
            str(row["id"]): RowOrigin(row["digest"], row["source"])
            for row in self._among(identifiers, ["id", *TRACES], "Strong")
        }

    def all_traces(self) -> Iterator[dict[str, RowOrigin]]:
        """What every row was made from, by id, page by page.

        Raises:
            UserError: the collection does not tell.
        """
        self._check_traced()
        for page in self._pages(["id", *TRACES]):
            yield {str(row["id"]): RowOrigin(row["digest"], row["source"]) for row in page}

    @property
    def live(self) -> bool:
        """Whether its rows are no longer its ingestion's alone, see `mark_live`."""
        return _LIVE in self.properties

    def mark_live(self) -> None:
        """Say, before the first change, that rows change from now on without an ingestion."""
        if not self.live:
            self.annotate({_LIVE: "true"})

    def expect_rows(self, count: int) -> None:
        """Say how many rows an ingestion wrote, for `check_rows`."""
        if self.properties.get(_ROWS) != str(count):
            self.annotate({_ROWS: str(count)})

    def check_rows(self) -> None:
        """Hold the rows against what the ingestion wrote, where nothing has changed them since.

        Raises:
            LostRowsError: there are others, or fewer.
        """
        wanted = self.properties.get(_ROWS)
        if wanted is None or self.live:
            return
        found = self.count()
        if found == int(wanted):
            return
        # Asked again: a client may have made it live while its rows were counted.
        if _LIVE in self._client.describe_collection(self.name, timeout=TIMEOUT)["properties"]:
            return
        place = f"{self.place}: {self.name} has {found:,}"
        if found > int(wanted):
            raise LostRowsError(
                f"{place} rows where {int(wanted):,} were ingested: something else writes to it; "
                "drop the collection and run `dvc repro ingest`"
            )
        raise LostRowsError(
            f"{place} of the {int(wanted):,} rows that were ingested; run `dvc repro ingest`, "
            "which writes those that are missing, or serve another index: `unbundle rollback`, or "
            "a new one and `unbundle promote`"
        )

    def flush(self) -> None:
        """Seal what was written; a server then builds its index, see `pending`."""
        self._client.flush(self.name, timeout=TIMEOUT)

    def pending(self) -> int:
        """Rows that the index does not cover yet; they are found all the same, at a cost."""
        about = self._client.describe_index(self.name, VECTOR, timeout=TIMEOUT)
        return int(about.get("pending_index_rows", 0))

    def count(self) -> int:
        """Number of rows, everything acknowledged included."""
        answer = self._client.query(
            self.name, output_fields=["count(*)"], consistency_level="Strong", timeout=TIMEOUT
        )
        return int(answer[0]["count(*)"])

    def ids(self) -> set[str]:
        """All ids, everything acknowledged included."""
        return {str(row["id"]) for row in self._all(["id"])}

    def annotate(self, properties: Mapping[str, str]) -> None:
        """Add properties (evaluation evidence) to the collection."""
        self._client.alter_collection_properties(self.name, dict(properties), timeout=TIMEOUT)
        self.properties.update(properties)

    def search(self, vectors: Vectors, k: int, filters: Filters | None = None) -> list[list[Hit]]:
        """The `k` nearest photos of each query vector, best first.

        Args:
            vectors: `[N, D]`, finite.
            k: hits per vector; fewer where the gallery or the filter has fewer.
            filters: see `unbundle.index.filters`.

        Returns:
            One list per vector; equal scores in the order of their ids.

        Raises:
            UserError: a filter that does not fit the columns.
        """
        self._check_vectors(vectors)
        expression = compile_filters(filters, self.columns)
        found: list[list[Hit]] = []
        for start in range(0, len(vectors), MOST_QUERIES):
            answer = self._client.search(
                self.name,
                data=vectors[start : start + MOST_QUERIES],
                anns_field=VECTOR,
                limit=min(k, MOST_HITS),
                filter=expression,
                output_fields=[*FIXED_FIELDS, *(column.field for column in self.columns)],
                search_params=self._search_params(k),
                consistency_level="Bounded",
                timeout=TIMEOUT,
            )
            found += [
                _ranked(self._hit(row["entity"], row["distance"]) for row in rows)
                for rows in answer
            ]
        return found

    def search_products(
        self, vectors: Vectors, k: int, filters: Filters | None = None
    ) -> list[list[Hit]]:
        """The best photo of each of the `k` nearest products, per query vector, best first."""
        return [found.products[:k] for found in self.nearest(vectors, k, 0, filters)]

    def nearest(
        self, vectors: Vectors, k: int, photos: int, filters: Filters | None = None
    ) -> list[Neighbours]:
        """The `k` nearest products and the nearest photos, per query vector.

        Milvus' own grouping loses groups on Lite and is ignored by older servers: this asks for
        more photos than products, and for more again while too few products come back, at most
        `MOST_HITS`. With an exact index a larger `k` gives a longer list with the same beginning.

        Args:
            vectors: `[N, D]`, finite.
            k: products per vector.
            photos: per vector, at least, where the gallery or the filter has so many.
            filters: see `unbundle.index.filters`.
        """
        depth = min(max(k * _OVERFETCH, photos), MOST_HITS)
        answers = [Neighbours([], []) for _ in vectors]
        open_rows = list(range(len(vectors)))
        while open_rows:
            found = self.search(vectors[open_rows], depth, filters)
            short = []
            for row, hits in zip(open_rows, found, strict=True):
                exhausted = len(hits) < depth or depth >= MOST_HITS
                products = best_per_product(hits if exhausted else _sure(hits))
                answers[row] = Neighbours(products, hits)
                if len(products) < k and not exhausted:
                    short.append(row)
            open_rows, depth = short, min(depth * _OVERFETCH, MOST_HITS)
        return answers

    def find(self, identifier: str) -> tuple[Hit, Vectors] | None:
        """One row by its id: as a hit without a score (0), and its vector `[D]`, a unit row."""
        # What is no id of ours never gets into an expression.
        if not re.fullmatch(ID_PATTERN, identifier):
            return None
        found = self._client.query(
            self.name,
            filter=f"id == {literal(identifier)}",
            output_fields=[*FIXED_FIELDS, *(column.field for column in self.columns), VECTOR],
            limit=1,
            consistency_level="Bounded",
            timeout=TIMEOUT,
        )
        if not found:
            return None
        return self._hit(found[0], 0.0), np.asarray(found[0][VECTOR], np.float32)

    def stored(self, identifiers: Sequence[str]) -> dict[str, Stored]:
        """Vector and keypoints by id, of those ids that the index still holds."""
        return {
            str(row["id"]): Stored(np.asarray(row[VECTOR], np.float32), row.get(KEYPOINTS, ""))
            for row in self._among(identifiers, ["id", *self._look()], "Bounded")
        }

    @cached_property
    def rows(self) -> Rows:
        """Every row with its vector, read once."""
        pages = list(self.pages())
        hits = [hit for page in pages for hit in page.hits]
        order = sorted(range(len(hits)), key=lambda row: hits[row].id)
        vectors = [np.zeros((0, self.dimension), np.float32), *(page.vectors for page in pages)]
        local = [text for page in pages for text in page.keypoints]
        return Rows(
            tuple(hits[row] for row in order),
            np.concatenate(vectors)[order],
            tuple(local[row] for row in order),
        )

    def pages(self) -> Iterator[Rows]:
        """Every row with its vector, a thousand at a time, in Milvus' order."""
        fields = [*FIXED_FIELDS, *(column.field for column in self.columns), *self._look()]
        for page in self._pages(fields):
            # Milvus gives Python floats: a page of them is eight times its array.
            yield Rows(
                tuple(self._hit(entity, 0.0) for entity in page),
                np.asarray([entity[VECTOR] for entity in page], np.float32),
                tuple(entity.get(KEYPOINTS, "") for entity in page),
            )

    def exact_search(self, vectors: Vectors, k: int) -> list[list[Hit]]:
        """What `search` returns when no index approximates: numpy over every row."""
        scores = np.asarray(vectors, np.float32) @ self.rows.vectors.T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return [
            [_scored(self.rows.hits[index], row[index]) for index in best]
            for row, best in zip(scores, order, strict=True)
        ]

    def _look(self) -> list[str]:
        """The fields of what a photo shows."""
        return [VECTOR, *([KEYPOINTS] if self.verifiable else [])]

    def _check_vectors(self, vectors: Vectors) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ValueError(f"expected vectors [N, {self.dimension}], found {vectors.shape}")
        # Lite takes NaN and zero vectors, and answers with nonsense.
        lengths = np.linalg.norm(vectors, axis=1)
        if not np.all(np.abs(lengths - 1) < _UNIT_TOLERANCE):
            raise ValueError(f"expected vectors of length 1, found {lengths}")

    def _row(self, item: Item, vector: Vectors, keypoints: str) -> dict[str, Any]:
        if misfit := self.misfit(item):
            raise UserError(f"catalogue.csv: {misfit}")
        traces = {"digest": item.digest, "source": item.source} if self.traced else {}
        local = {KEYPOINTS: keypoints} if self.verifiable else {}
        return {
            "id": item.id,
            VECTOR: vector,
            "label": item.label,
            "caption": clip(item.caption),
            "image": item.image,
            **{column.field: column.cell(item.columns[column.name]) for column in self.columns},
            **traces,
            **local,
        }

    def _hit(self, entity: Mapping[str, Any], score: float) -> Hit:
        return Hit(
            id=str(entity["id"]),
            label=str(entity["label"]),
            score=float(score),
            caption=str(entity["caption"]),
            image=str(entity["image"]),
            fields={column.name: column.value(entity[column.field]) for column in self.columns},
        )

    def _among(
        self, identifiers: Sequence[str], fields: list[str], consistency: str
    ) -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(identifiers), _PAGE):
            yield from self._client.query(
                self.name,
                filter=_among(identifiers[start : start + _PAGE]),
                output_fields=fields,
                consistency_level=consistency,
                timeout=TIMEOUT,
            )

    def _all(self, fields: list[str]) -> list[Mapping[str, Any]]:
        return [row for page in self._pages(fields) for row in page]

    def _pages(self, fields: list[str]) -> Iterator[list[Mapping[str, Any]]]:
        iterator = self._client.query_iterator(
            self.name,
            batch_size=_PAGE,
            output_fields=fields,
            consistency_level="Strong",
            timeout=TIMEOUT,
        )
        try:
            while page := iterator.next():
                yield page
        finally:
            iterator.close()

    def _check_traced(self) -> None:
        if not self.traced:
            raise UserError(
                f"{self.place}: collection {self.name} does not tell what its rows were made from; "
                "run `dvc repro ingest` and promote"
            )

    def _check_metric(self) -> None:
        metric = self._client.describe_index(self.name, VECTOR, timeout=TIMEOUT)["metric_type"]
        # Lite answers a search with another metric than the index's by the index's, silently.
        if metric != METRIC:
            raise UserError(
                f"{self.place}: collection {self.name} has metric {metric}, expected {METRIC}; "
                "run `dvc repro ingest`"
            )

    def _search_params(self, k: int) -> dict[str, Any]:
        if self.index["type"] != "HNSW":
            return {"metric_type": METRIC}
        return {"metric_type": METRIC, "params": {"ef": max(int(self.index["ef"]), k)}}


def content_digest(item: Item, photo: str, columns: Sequence[Column]) -> str:
    """What changes with anything that an index of these columns holds of an item and its photo.

    Args:
        item: the row; cells of other columns do not count.
        photo: SHA-256 of the photo's file.
        columns: of the index.
    """
    cells = {column.name: item.columns.get(column.name, "") for column in columns}
    content = [item.id, item.label, item.caption, item.image, cells, photo]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:TRACE_LENGTH]


def best_per_product(hits: Sequence[Hit]) -> list[Hit]:
    """The first hit of each product, in the order of the hits."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.product, hit)
    return list(best.values())


def _sure(hits: Sequence[Hit]) -> list[Hit]:
    """Without the hits that score like the last: there may be more of them, with earlier ids."""
    return [hit for hit in hits if hit.score > hits[-1].score]


def _among(identifiers: Sequence[str]) -> str:
    # What is no id of ours never gets into an expression.
    strange = next((one for one in identifiers if not re.fullmatch(ID_PATTERN, one)), None)
    if strange is not None:
        raise ValueError(f"{strange!r}: no id")
    return f"id in [{','.join(literal(one) for one in identifiers)}]"


def _ranked(hits: Any) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _scored(hit: Hit, score: float) -> Hit:
    return replace(hit, score=float(score))
