"""From the detector's cells to the boxes of a photo: the one post-processing, in training and shop.

Beyond non-maximum suppression two kinds of box are no product: a part (a cap, a label) that lies
inside a clearly better box, and a group that better boxes explain between them.
"""

import numpy as np
from numpy.typing import NDArray

from serving.boxes import Boxes, areas, intersections, suppress

Scores = NDArray[np.float32]

INSIDE = 0.85
"""Share of a box's area that makes it lie inside another."""

PART = 0.6
"""A box inside another is its part when its score is below this share of the other's; a product
that stands before a larger one scores nearly as well and stays."""

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
        factor: input pixels per photo pixel, as `serving.imaging.letterbox` returned it.
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        min_score: boxes below it are no products.
        nms_iou: of two boxes that overlap more, the better stays.
        max_proposals: boxes kept at most.

    Returns:
        Boxes `[N, 4]` float32 in photo pixels, inside the photo, and scores `[N]`, N ≥ 1: the whole
        photo with score 0 when nothing is seen.
    """
    limit = np.asarray([width, height, width, height], np.float32)
    candidates = scores >= min_score
    found = np.clip(boxes[candidates].astype(np.float32) / np.float32(factor), 0, limit)
    marks = scores[candidates].astype(np.float32)
    real = np.all(found[:, 2:] - found[:, :2] >= 1, axis=1)
    found, marks = found[real], marks[real]
    kept = suppress(found, marks, nms_iou)
    found, marks = _products(found[kept], marks[kept])
    if not len(found):
        return limit[None] * np.asarray([[0, 0, 1, 1]], np.float32), np.zeros(1, np.float32)
    return found[:max_proposals], marks[:max_proposals]


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
    return boxes[kept], scores[kept]
