"""Photos of different products that look like one: what a catalogue may hold twice."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from unbundle.base.errors import UserError
from unbundle.index.gallery_collection import MOST_HITS, MOST_QUERIES, Gallery, Hit, Rows

_DEPTH = 16
"""Hits of a photo that are searched first; four times as many while all of them are near."""

_ROUNDING = 1e-6  # the product of a unit vector with itself may be a little less than 1


@dataclass(frozen=True)
class Duplicate:
    """Two photos of different products."""

    first: Hit
    second: Hit
    """The later id; both without a score of their own (0)."""
    score: float
    """Inner product of their stored vectors."""


def duplicates(gallery: Gallery, threshold: float) -> Iterator[Duplicate]:
    """Yield every pair of photos of different products whose stored vectors are near, each once.

    Rows are read page by page and their neighbours by one search of a few photos at a time; a
    call's answer has `MOST_HITS` hits at most, so memory does not grow with the catalogue. Milvus
    finds `MOST_HITS` neighbours of a photo at most, and an approximate index may miss some.

    Args:
        gallery: the index.
        threshold: least inner product, above 0, at most 1.

    Raises:
        UserError: another threshold.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"threshold {threshold:g}: expected a number above 0, at most 1")
    return _pairs(gallery, threshold - _ROUNDING)


def _pairs(gallery: Gallery, threshold: float) -> Iterator[Duplicate]:
    for page in gallery.pages():
        for row, hits in _neighbours(gallery, page, threshold):
            own = page.hits[row]
            for hit in hits:
                # The other photo's search finds the pair, too.
                if own.id < hit.id and own.product != hit.product:
                    yield Duplicate(own, replace(hit, score=0.0), hit.score)


def _neighbours(gallery: Gallery, page: Rows, threshold: float) -> Iterator[tuple[int, list[Hit]]]:
    depth, rows = _DEPTH, list(range(len(page.hits)))
    while rows:
        wider: list[int] = []
        step = min(MOST_QUERIES, MOST_HITS // depth)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            for row, hits in zip(some, gallery.search(page.vectors[some], depth), strict=True):
                if len(hits) == depth < MOST_HITS and hits[-1].score >= threshold:
                    wider.append(row)
                else:
                    yield row, [hit for hit in hits if hit.score >= threshold]
        rows, depth = wider, min(depth * 4, MOST_HITS)
