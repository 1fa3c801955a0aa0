"""From the detector's cells to the boxes of a photo: the one post-processing, in training and shop.

Beyond non-maximum suppression two kinds of box are no product: a part (a cap, a label) that lies
inside a clearly better box, and a group that better boxes explain between them. And a bundle of one
is one: where all other boxes are weak and cross the best, they are worse guesses at it.

Where no box is sure, the whole photo comes last as one more proposal, with score 0: a photo unlike
all that the detector has seen is still searched for as a whole. Sure boxes keep it out: of all the
queries of the demo, of grocery and of the tests' third style it would find three products that
their boxes miss, and cost every query one more list to fuse.
"""

import numpy as np
from numpy.typing import NDArray

from unbundle.vision.boxes import Boxes, areas, intersection_over_union, intersections, suppress

Scores = NDArray[np.float32]

INSIDE = 0.85
"""Share of a box's area that makes it lie inside another."""

CANDIDATES = 256
"""Best boxes that suppression compares, each with each, at most. A product claims
about ten cells (`detect.training.candidates`), so that far more than `max_proposals` are among
them."""

UNSURE = 0.4
"""Best score below which the whole photo is proposed, too."""

AGREEING = 0.8
"""IoU from which a suppressed box is a second measurement of the box that stays."""

PART = 0.7
"""A box inside another is its part when its score is below this share of the other's; a product
that stands before a larger one scores nearly as well and stays."""

CROSSING = 0.3
"""Share of the smaller of two boxes from which they may be guesses at one product."""

EXPLAINED = 0.5
"""A box is a group when two or more better boxes inside it fill this share of its area."""


def select_proposals(
    boxes: Boxes,
    scores: Scores,
    factor: float,
    width: int,
    height: int,
    min_score: float,
    nms_iou: float,
    max_proposals: int,
) -> tuple[Boxes, Scores]:
    """The boxes of one photo, best first.

    Args:
        boxes: the detector's boxes `[A, 4]` in pixels of its letterboxed input.
        scores: their scores `[A]` in 0..1.
        factor: input pixels per photo pixel, as `unbundle.vision.imaging.letterbox` returned it.
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        min_score: boxes below it are no products.
        nms_iou: of two boxes that overlap more, the better stays.
        max_proposals: boxes kept at most.

    Returns:
        Boxes `[N, 4]` float32 in photo pixels, inside the photo, and scores `[N]`, N ≥ 1. The last
        is the whole photo, with score 0, where no other box scores `UNSURE`, unless one of them is
        the whole photo but for a margin.
    """
    limit = np.asarray([width, height, width, height], np.float32)
    best = np.flatnonzero(scores >= min_score)
    best = best[np.argsort(-scores[best], kind="stable")[:CANDIDATES]]
    found = np.clip(boxes[best].astype(np.float32) / np.float32(factor), 0, limit)
    marks = scores[best].astype(np.float32)
    real = np.all(found[:, 2:] - found[:, :2] >= 1, axis=1)
    found, marks = found[real], marks[real]
    kept = suppress(found, marks, nms_iou)
    found, marks = _products(_voted(found, marks, kept), marks[kept])
    found, marks = found[:max_proposals], marks[:max_proposals]
    if len(found) and marks[0] >= UNSURE:
        return found, marks
    return _with_whole(found, marks, limit, nms_iou, max_proposals)


def _voted(boxes: Boxes, scores: Scores, kept: NDArray[np.int64]) -> Boxes:
    """The kept boxes, each the mean of all boxes that agree with it, by their squared scores.

    Box voting (Gidaris and Komodakis, ICCV 2015): a score is trained to be the box's IoU, so that
    neighbouring cells' boxes are measurements of known quality.
    """
    agreeing = intersection_over_union(boxes[kept], boxes) > AGREEING
    # In double precision a box that stands alone stays as it is, to the bit.
    weights = agreeing * np.square(np.maximum(scores, 1e-6), dtype=np.float64)[None]
    return np.asarray(weights @ boxes / weights.sum(axis=1, keepdims=True), np.float32)


def _with_whole(
    boxes: Boxes, scores: Scores, limit: Boxes, nms_iou: float, max_proposals: int
) -> tuple[Boxes, Scores]:
    """Boxes that come best first, and the whole photo last; it may take the last one's place."""
    whole = (limit * np.asarray([0, 0, 1, 1], np.float32))[None]
    if len(boxes) and intersection_over_union(boxes, whole).max() > nms_iou:
        return boxes, scores
    # Alone it is better than nothing, but no better than the only box.
    kept = max(max_proposals - 1, min(len(boxes), 1))
    boxes = np.concatenate([boxes[:kept], whole])[:max_proposals]
    scores = np.append(scores[:kept], np.float32(0))[:max_proposals]
    return boxes, scores


def _products(boxes: Boxes, scores: Scores) -> tuple[Boxes, Scores]:
    """Drop parts and groups from boxes that come best first."""
    shared = intersections(boxes, boxes)
    sizes = np.maximum(areas(boxes), 1e-9)
    kept: list[int] = []
    for row in range(len(boxes)):
        inside = shared[row, kept] / sizes[row] > INSIDE
        part = np.any(inside & (scores[row] < PART * scores[kept]))
        members = shared[row, kept] / sizes[kept] > INSIDE
        group = members.sum() > 1 and (shared[row, kept] * members).sum() > EXPLAINED * sizes[row]
        if not (part or group):
            kept.append(row)
    return _one(boxes[kept], scores[kept])


def _one(boxes: Boxes, scores: Scores) -> tuple[Boxes, Scores]:
    """Only the best of boxes that come best first, where the others are guesses at it, too."""
    if len(boxes) < 2:
        return boxes, scores
    sizes = np.maximum(areas(boxes), 1e-9)
    crossing = intersections(boxes[:1], boxes)[0] > CROSSING * np.minimum(sizes[0], sizes)
    guesses = crossing & (scores < PART * scores[0])
    return (boxes[:1], scores[:1]) if guesses[1:].all() else (boxes, scores)
