"""How well proposals match true boxes: COCO's average precision for one class, and recall.

Average precision is the mean of the interpolated precision at 101 recalls (Lin et al., ECCV 2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbundle.vision.boxes import Boxes, intersection_over_union

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU thresholds of COCO's AP."""

RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Scene:
    """A photo's proposals and truth.

    Attributes:
        boxes: proposals `[N, 4]` in pixels.
        scores: of the proposals, `[N]`.
        truth: true boxes `[M, 4]` in pixels.
    """

    boxes: Boxes
    scores: NDArray[np.float32]
    truth: Boxes


def matches(scene: Scene, iou: float) -> NDArray[np.bool_]:
    """Which proposals hit, `[N]`: best score first, each takes its best true box that is free."""
    overlaps = intersection_over_union(scene.boxes, scene.truth)
    hits = np.zeros(len(scene.boxes), bool)
    for row in np.argsort(-scene.scores, kind="stable"):
        if not overlaps.shape[1]:
            break
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= iou:
            hits[row] = True
            overlaps[:, best] = -1
    return hits


def average_precision(scenes: Sequence[Scene], iou: float) -> float:
    """Average precision over all photos, 0 to 1.

    Raises:
        ValueError: no photo has a true box.
    """
    return float(precision_at_recalls(scenes, iou).mean())


def precision_at_recalls(scenes: Sequence[Scene], iou: float) -> NDArray[np.float64]:
    """The interpolated precision `[101]` at `RECALLS`, over all photos.

    Raises:
        ValueError: no photo has a true box.
    """
    truths = sum(len(scene.truth) for scene in scenes)
    if not truths:
        raise ValueError("average precision needs at least one true box")
    scores = np.concatenate([scene.scores for scene in scenes])
    hits = np.concatenate([matches(scene, iou) for scene in scenes])
    hits = hits[np.argsort(-scores, kind="stable")]
    recall = np.cumsum(hits) / truths
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    # The best precision at this recall or beyond; 0 for recalls never reached.
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return np.asarray(envelope[np.searchsorted(recall, RECALLS)], np.float64)


def recall(scenes: Sequence[Scene], iou: float) -> float:
    """Share of the true boxes that some proposal matches, 0 to 1."""
    found = sum(int(matches(scene, iou).sum()) for scene in scenes)
    return found / sum(len(scene.truth) for scene in scenes)


def summarise(ranked: Sequence[Scene], served: Sequence[Scene]) -> dict[str, Any]:
    """Figures of one split.

    Args:
        ranked: the photos with proposals down to low scores, for average precision.
        served: the same photos with the proposals that serving would use, for recall.

    Returns:
        `photos` and `boxes` counts; where there are boxes also `ap50`, `ap75`, `ap` (mean over
        `THRESHOLDS`), `recall50`, `recall75`, `recall90` and `boxes_per_photo` as served;
        `right_count`, the share of photos with as many proposals as products; and, where a photo
        shows one product, `one_as_one`, that share among such photos.
    """
    figures: dict[str, Any] = {
        "photos": len(ranked),
        "boxes": sum(len(scene.truth) for scene in ranked),
    }
    if not figures["boxes"]:
        return figures
    precisions = {iou: average_precision(ranked, iou) for iou in THRESHOLDS}
    figures |= {"ap50": precisions[0.5], "ap75": precisions[0.75]}
    figures["ap"] = float(np.mean(list(precisions.values())))
    for iou in (0.5, 0.75, 0.9):
        figures[f"recall{round(iou * 100)}"] = recall(served, iou)
    counts = np.asarray([(len(scene.boxes), len(scene.truth)) for scene in served])
    figures["boxes_per_photo"] = float(counts[:, 0].mean())
    right = counts[:, 0] == counts[:, 1]
    figures["right_count"] = float(right.mean())
    if (counts[:, 1] == 1).any():
        figures["one_as_one"] = float(right[counts[:, 1] == 1].mean())
    return figures
