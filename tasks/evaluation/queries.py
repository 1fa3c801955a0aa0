"""Labelled queries, asked of a collection through the same code that answers clients."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.base.params import Params
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.data.composed_queries import JUNK, are_composed, read_rows
from tasks.data.splits import labelled, products_of, rows_of, spread
from unbundle.base.errors import UserError
from unbundle.query.search import ProductSearch, Ranking
from unbundle.vision.boxes import Boxes


@dataclass(frozen=True)
class LabelledQuery:
    """One query with its answer.

    Attributes:
        id: of its row.
        photo: its path.
        caption: may be empty.
        labels: what the photo shows, repeated where a product is there twice.
        boxes: one `[4]` per label in pixels, None where unknown.
    """

    id: str
    photo: Path
    caption: str
    labels: list[str]
    boxes: Boxes | None


@dataclass(frozen=True)
class LabelledQueries:
    """What is asked, and what counts as an answer.

    Attributes:
        frame: rows of the manifest, all of one split, all with labels.
        split: which one.
        gallery: label of each gallery item by its id; empty where the catalogue does not say.
        folder: of the catalogue, which images are relative to.
        corpus: training titles, from which a baseline may learn how common words are.
    """

    frame: pd.DataFrame
    split: str
    gallery: Mapping[str, str]
    folder: Path
    corpus: Sequence[str]

    @cached_property
    def labels(self) -> dict[str, list[str]]:
        """Instance labels by query id, in the order of the rows."""
        return dict(zip(self.frame["id"], self.frame["labels"], strict=True))

    @cached_property
    def junk(self) -> dict[str, list[str]]:
        """Gallery ids by query id that are no answer: composed queries were made of them."""
        return dict(zip(self.frame["id"], self.frame[JUNK], strict=True))

    @property
    def composed(self) -> bool:
        """Whether nobody labelled these: what they measure is provisional."""
        return are_composed(self.frame)

    @cached_property
    def rows(self) -> list[LabelledQuery]:
        """The queries one by one."""
        columns = (self.frame[name] for name in ("id", "image", "caption", "labels", "boxes"))
        return [
            LabelledQuery(
                name,
                self.folder / image,
                caption,
                labels,
                None if boxes is None else np.asarray(boxes, np.float32),
            )
            for name, image, caption, labels, boxes in zip(*columns, strict=True)
        ]

    @cached_property
    def digest(self) -> str:
        """Changes with any query or answer, so that old figures are recognised."""
        rows = self.frame[["id", "image", "caption", "labels", "boxes"]].to_dict("records")
        content = json.dumps([rows, dict(self.gallery)], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Retrieved:
    """The rankings of all queries, in their order."""

    rankings: list[Ranking]
    milliseconds: list[float]
    """From the photo's path to the merged ranking, by query."""

    def merged(self, queries: LabelledQueries) -> dict[str, list[str]]:
        """Ranked gallery ids by query id."""
        lists = (ranking.merged for ranking in self.rankings)
        return dict(zip(queries.labels, lists, strict=True))


def read_queries(workspace: Workspace, params: Params) -> LabelledQueries:
    """The labelled rows of `evaluate.split`, else those of dev, and the gallery's labels.

    Raises:
        UserError: neither split has a labelled row.
    """
    manifest = read_rows(workspace)
    gallery = rows_of(manifest, "gallery")
    wanted = params.evaluate.split
    split = "dev" if labelled(manifest, wanted).empty else wanted
    frame = labelled(manifest, split).reset_index(drop=True)
    if frame.empty:
        raise UserError(
            f"{workspace.manifest}: no labelled row of split {wanted} or dev; label some, "
            "or set compose_queries.count and run `dvc repro`"
        )
    if split != wanted:
        console.print(f"  no labelled query of split {wanted}: the figures cover {split}")
    if are_composed(frame):
        console.print("  provisional: these queries are composed of the gallery's own photos")
    return LabelledQueries(
        frame=frame,
        split=split,
        gallery=dict(zip(gallery["id"], products_of(gallery), strict=True)),
        folder=workspace.catalogue,
        corpus=rows_of(manifest, "train")["caption"].tolist(),
    )


def retrieve(search: ProductSearch, queries: LabelledQueries, depth: int) -> Retrieved:
    """Ask every query with its photo and caption, of an index that lacks its junk."""
    rankings, milliseconds = [], []
    for query in track(queries.rows, f"queries to {search.gallery.name}"):
        started = time.perf_counter()
        junk = frozenset(queries.junk[query.id])
        rankings.append(search.rank(query.photo, query.caption, depth, junk))
        milliseconds.append(1000 * (time.perf_counter() - started))
    return Retrieved(rankings, milliseconds)


def median_latencies(
    searches: Sequence[ProductSearch], queries: LabelledQueries, count: int, k: int
) -> list[float]:
    """Median time in milliseconds of one query as a client asks it, for each of some indexes.

    They are asked in turn, so that whatever else the machine does slows all of them.
    """
    sample = [queries.rows[place] for place in spread(len(queries.rows), count)]
    times: list[list[float]] = [[] for _ in searches]
    # One round that is not timed: the first run of a network plans its memory.
    for query in [sample[0], *sample]:
        for search, record in zip(searches, times, strict=True):
            started = time.perf_counter()
            search(query.photo, query.caption, k)
            record.append(1000 * (time.perf_counter() - started))
    return [float(np.median(record[1:])) for record in times]
