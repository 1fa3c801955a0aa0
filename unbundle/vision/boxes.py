"""Box geometry shared by the detector's training, the proposals and the metrics.

A box is `[x0, y0, x1, y1]` in pixels, x1 and y1 exclusive.
"""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


def areas(boxes: Boxes) -> NDArray[np.float32]:
    """Areas `[N]` in square pixels of boxes `[N, 4]`; an inverted box has area 0."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def intersections(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Shared areas `[N, M]` in square pixels of boxes `[N, 4]` and `[M, 4]`."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float32)


def intersection_over_union(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """IoU `[N, M]` of boxes `[N, 4]` and `[M, 4]`."""
    shared = intersections(first, second)
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def suppress(boxes: Boxes, scores: NDArray[np.float32], iou: float) -> NDArray[np.int64]:
    """Indices of the boxes that greedy non-maximum suppression keeps, best score first."""
    left = np.argsort(-scores, kind="stable")
    overlapping = intersection_over_union(boxes, boxes) > iou
    kept: list[int] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[~overlapping[best, left]]
    return np.asarray(kept, np.int64)
