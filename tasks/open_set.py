"""Instances with and without their product in the gallery: what "not in the catalogue" rests on.

Every instance whose product is known is asked twice: of the whole gallery, and of the gallery
without its product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.boxes import Boxes, intersection_over_union
from serving.bundle import KnownSettings
from serving.known import SIGNS, probability, signs


@dataclass(frozen=True)
class Trials:
    """Searches with a known outcome.

    Attributes:
        signs: `serving.known.SIGNS` float64 `[T, 3]`.
        known: bool `[T]`, whether the product was in the gallery.
    """

    signs: NDArray[np.float64]
    known: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence["Trials"]) -> "Trials":
        """All trials of some queries."""
        empty = cls(np.zeros((0, len(SIGNS))), np.zeros(0, bool))
        parts = [empty, *parts]
        return cls(
            np.concatenate([part.signs for part in parts]),
            np.concatenate([part.known for part in parts]),
        )


def products(
    proposals: Boxes, labels: Sequence[str], boxes: Boxes | None, iou: float
) -> list[str | None]:
    """The product that each proposal `[P, 4]` shows; None where that cannot be told.

    Args:
        proposals: in pixels, best first.
        labels: what the photo shows.
        boxes: the true boxes, one per label, None where unknown.
        iou: overlap from which a proposal shows a true box's product.
    """
    if boxes is None:
        # Of one product the best proposal is its photo.
        alone = labels[0] if len(labels) == 1 else None
        return [alone, *[None] * (len(proposals) - 1)]
    overlaps = intersection_over_union(proposals, np.asarray(boxes, np.float32))
    best = overlaps.argmax(axis=1)
    return [
        labels[place] if row[place] >= iou else None
        for place, row in zip(best, overlaps, strict=True)
    ]


def trials(
    scores: NDArray[np.float32],
    gallery: NDArray[np.str_],
    shown: Sequence[str | None],
    seen: NDArray[np.float32],
) -> Trials:
    """Ask every instance whose product is known with and without that product.

    Args:
        scores: cosines `[P, M]` of one query's instances with the gallery.
        gallery: labels `[M]`.
        shown: the product of each instance, None where unknown.
        seen: the detector's scores `[P]`.
    """
    rows, outcomes = [], []
    for cosines, product, score in zip(scores, shown, seen, strict=True):
        mine = gallery == product
        if product is None or not mine.any() or mine.all():
            continue
        for known, kept in ((True, np.ones_like(mine)), (False, ~mine)):
            rows.append(signs(_two_best(cosines[kept], gallery[kept]), float(score)))
            outcomes.append(known)
    return Trials(np.asarray(rows, np.float64).reshape(-1, len(SIGNS)), np.asarray(outcomes, bool))


def _two_best(cosines: NDArray[np.float32], labels: NDArray[np.str_]) -> list[float]:
    first = int(cosines.argmax())
    others = cosines[labels != labels[first]]
    return [float(cosines[first]), *([float(others.max())] if len(others) else [])]


def measure(found: Trials, known: KnownSettings, bins: int) -> dict[str, Any]:
    """How well the probability tells known products from unknown ones.

    Args:
        found: trials of queries that the calibration has not seen.
        known: of the bundle.
        bins: of the reliability curve.

    Returns:
        `auroc`; at the bundle's threshold the rates of `false_accepts` (unknown products taken for
        known) and `false_rejects`; `reliability`: per bin of the probability how many `trials`, the
        mean `probability` and the share that was `known`.
    """
    from sklearn.metrics import roc_auc_score

    chances = np.asarray([probability(row, known.weights) for row in found.signs.tolist()])
    accepted = chances >= known.threshold
    places = np.minimum((chances * bins).astype(int), bins - 1)
    return {
        "trials": len(chances),
        "auroc": round(float(roc_auc_score(found.known, chances)), 6),
        "threshold": known.threshold,
        "false_accepts": round(float(accepted[~found.known].mean()), 6),
        "false_rejects": round(float((~accepted)[found.known].mean()), 6),
        "reliability": [
            {
                "trials": int((places == place).sum()),
                "probability": round(float(chances[places == place].mean()), 4),
                "known": round(float(found.known[places == place].mean()), 4),
            }
            for place in range(bins)
            if (places == place).any()
        ],
    }
