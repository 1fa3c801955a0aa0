"""Why a product of a query was not found: each miss is charged to the first cause that holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbundle.vision.boxes import Boxes, intersection_over_union

Cause = Literal["detector", "encoder", "index", "merging"]

CAUSES: tuple[Cause, ...] = ("detector", "encoder", "index", "merging")


@dataclass(frozen=True)
class Miss:
    """A label of a query that its first K places do not hold."""

    query: str
    label: str
    cause: Cause


@dataclass(frozen=True)
class QueryOutcome:
    """What each step of one query found, as labels of the first K gallery items.

    Attributes:
        query: its id.
        labels: what the photo shows.
        boxes: the true boxes `[len(labels), 4]` in pixels, None where unknown.
        proposals: the detector's boxes `[P, 4]` in pixels.
        exact: labels that exact search finds, re-ranked, by instance.
        index: labels that the index finds, re-ranked, by instance.
        merged: labels of the query's ranking after rank fusion.
    """

    query: str
    labels: Sequence[str]
    boxes: Boxes | None
    proposals: Boxes
    exact: Sequence[Iterable[str]]
    index: Sequence[Iterable[str]]
    merged: Iterable[str]


def attribute(trace: QueryOutcome, iou: float) -> list[Miss]:
    """The misses of one query, in the order of its labels.

    The cause is the first that holds: `detector` (no proposal on it), `encoder` (exact search does
    not find it either), `index` (only exact search does), `merging` (lost by rank fusion).

    Args:
        trace: what the steps found.
        iou: overlap from which a proposal has found a true box. A label that is there several
            times is lost by the detector only if no box of it is found.
    """
    found, seen = set(trace.merged), _detected(trace, iou)
    exact, index = set().union(*trace.exact), set().union(*trace.index)
    misses = []
    for label in dict.fromkeys(trace.labels):
        if label in found:
            continue
        cause: Cause = "merging"
        if label not in seen:
            cause = "detector"
        elif label not in exact:
            cause = "encoder"
        elif label not in index:
            cause = "index"
        misses.append(Miss(trace.query, label, cause))
    return misses


def _detected(trace: QueryOutcome, iou: float) -> set[str]:
    if trace.boxes is None:
        return set(trace.labels)
    overlaps = intersection_over_union(np.asarray(trace.boxes, np.float32), trace.proposals)
    best = overlaps.max(axis=1, initial=0)
    return {label for label, overlap in zip(trace.labels, best, strict=True) if overlap >= iou}
