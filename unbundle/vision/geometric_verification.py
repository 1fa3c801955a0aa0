"""Geometric verification: which local features of an instance are found again on gallery photos.

Each keypoint of the instance is matched with the nearest descriptor on a candidate's photo, unless
the second nearest is about as near (ratio test, Lowe 2004). Matches that one similarity transform
(translation, rotation, scale) takes from instance to photo are its inliers (RANSAC, Fischler and
Bolles 1981). Two products of one brand share a few matches, two photos of one product many; and the
count needs no training, so it holds for products that training never saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from unbundle.vision.keypoints import Keypoints, KeypointSettings

FEWEST = 5
"""Inliers from which `spread` and `skew` are measured."""

_SCALES = (1 / 3, 3)
"""Of a product between two crops of it: a transform that scales by less or more is an accident."""

_TURNS = 500
"""Iterations of RANSAC."""

_FAR = np.float32(1e6)
"""More than any two descriptors differ by."""


@dataclass(frozen=True)
class Evidence:
    """What geometric verification found for one instance and one photo.

    Attributes:
        inliers: matches that one similarity transform explains.
        like: inliers whose difference in chroma is within `KeypointSettings.like` of the median.
        share: inliers divided by the instance's keypoints, 0 to 1.
        spread: mean distance of the inliers' differences in chroma from their median; in CIELAB's
            units, None with fewer than `FEWEST` inliers.
        skew: logarithm of how much more the best affine map stretches one direction than the other;
            None with fewer than `FEWEST` inliers.
    """

    inliers: int
    like: int
    share: float
    spread: float | None
    skew: float | None


NONE = Evidence(0, 0, 0.0, None, None)
"""No transform explains enough matches."""

_CHANCE = 3
"""Inliers that a photo of anything has: two matches define a similarity transform, a third may fit
by accident."""


def bonus(inliers: int) -> float:
    """What inliers add to a score before the bundle's weight: `log(1 + inliers beyond _CHANCE)`."""
    return float(np.log1p(max(inliers - _CHANCE, 0)))


def verify(
    query: Keypoints, candidates: Sequence[Keypoints], settings: KeypointSettings
) -> list[Evidence]:
    """Match an instance's keypoints with those of some photos.

    Args:
        query: keypoints of the instance.
        candidates: keypoints of each photo.
        settings: of the bundle: ratio test, tolerance, what colours count as alike.

    Returns:
        The evidence of each photo, in the order of `candidates`.
    """
    longest = max((len(candidate) for candidate in candidates), default=0)
    if not len(query) or not longest:
        return [NONE] * len(candidates)
    # A squared distance is |q|² - 2 (q·c - |c|² / 2): one matrix product for all candidates gives
    # what is in brackets. Rows that pad a candidate are farther than any descriptor.
    count, dimension = query.descriptors.shape
    rows = np.zeros((len(candidates), longest, dimension + 1), np.float32)
    rows[:, :, dimension] = -_FAR
    for place, one in enumerate(candidates):
        rows[place, : len(one), :dimension] = one.descriptors
        rows[place, : len(one), dimension] = np.square(one.descriptors).sum(axis=1) / -2
    asked = np.column_stack([query.descriptors, np.ones(count, np.float32)])
    likeness = (asked @ rows.reshape(-1, dimension + 1).T).reshape(count, len(candidates), longest)
    nearest = likeness.argmax(axis=2)[:, :, None]
    own = np.square(query.descriptors).sum(axis=1)[:, None]
    first = own - 2 * np.take_along_axis(likeness, nearest, axis=2)[:, :, 0]
    np.put_along_axis(likeness, nearest, -_FAR, axis=2)
    # Lowe's ratio test: a match that is hardly nearer than the next best belongs to a pattern.
    matched = first < settings.ratio**2 * (own - 2 * likeness.max(axis=2))
    nearest = nearest[:, :, 0]
    return [
        _evidence(query, candidate, np.flatnonzero(matched[:, place]), nearest[:, place], settings)
        for place, candidate in enumerate(candidates)
    ]


def _evidence(
    query: Keypoints,
    candidate: Keypoints,
    matched: NDArray[np.int64],
    nearest: NDArray[np.int64],
    settings: KeypointSettings,
) -> Evidence:
    if len(matched) < 4:
        return NONE
    here, there = query.places[matched], candidate.places[nearest[matched]]
    move, inside = cv2.estimateAffinePartial2D(
        here,
        there,
        method=cv2.RANSAC,
        ransacReprojThreshold=settings.tolerance,
        maxIters=_TURNS,
    )
    if not inside.any():
        return NONE
    scale = float(np.sqrt(abs(np.linalg.det(move[:, :2]))))
    if not _SCALES[0] <= scale <= _SCALES[1]:
        return NONE
    kept = inside[:, 0] > 0
    count = int(kept.sum())
    difference = query.chroma[matched[kept]] - candidate.chroma[nearest[matched[kept]]]
    away = np.linalg.norm(difference - np.median(difference, axis=0), axis=1)
    return Evidence(
        inliers=count,
        like=int((away < settings.like).sum()),
        share=count / len(query),
        spread=float(away.mean()) if count >= FEWEST else None,
        skew=_skew(here[kept], there[kept]) if count >= FEWEST else None,
    )


def _skew(here: NDArray[np.float32], there: NDArray[np.float32]) -> float:
    columns = np.column_stack([here, np.ones(len(here), np.float32)])
    affine, *_ = np.linalg.lstsq(columns, there, rcond=None)
    longest, shortest = np.linalg.svd(affine[:2], compute_uv=False)
    # Inliers on one line leave the other direction open.
    return float(np.log(longest / max(shortest, longest / 4)))
