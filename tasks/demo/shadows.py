"""Shadows of products, computed at half a photo's size: they are soft anyway."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.demo.surface_meshes import Floats, floats

Row = tuple[float, float, float]
"""One row of an affine map: factors of x and y, and an offset."""

DROP = 0.035
"""Length of the shadow of what lies, as a share of the product's longer side."""

FLATTENED, TOUCHING = 0.16, 0.05
"""Depth of a standing product's shadow and of the dark line under it, as shares of its height."""

LYING_DARKNESS, CAST_DARKNESS, TOUCH_DARKNESS = 0.4, 0.26, 0.36


@dataclass(frozen=True)
class Sun:
    """The light of one photo.

    Attributes:
        slant: a shadow's step to the right per pixel of height.
        lying: shadows fall beside products that lie, else behind the feet of standing ones.
        frame: width and height of the photo in pixels.
    """

    slant: float
    lying: bool
    frame: tuple[int, int]


def shadow(coverage: Floats, low: NDArray[np.int_], size: float, sun: Sun) -> Floats:
    """Darkness of a product's shadow on the whole photo, float32 `[height, width]` in 0..1.

    Args:
        coverage: of the product, float32 `[rows, columns]` in 0..1.
        low: x and y of the coverage's first pixel in the photo.
        size: of the product's longer side in pixels.
        sun: the photo's light.
    """
    if sun.lying:
        drop = DROP * size
        moved = _moved(coverage, low, (1, 0, math.copysign(drop, sun.slant)), (0, 1, drop), sun)
        return _soft(moved, LYING_DARKNESS, 0.7 * drop + 1, sun)
    foot = float(low[1] + coverage.shape[0])
    leaning = (1, -sun.slant, sun.slant * foot)
    cast = _moved(coverage, low, leaning, (0, FLATTENED, (1 - FLATTENED) * foot), sun)
    # The line reaches a little below the foot.
    touch = _moved(coverage, low, (1, 0, 0), (0, TOUCHING, (1 - 0.7 * TOUCHING) * foot), sun)
    soft_cast = _soft(cast, CAST_DARKNESS, 0.03 * size + 1, sun)
    return soft_cast + _soft(touch, TOUCH_DARKNESS, 0.012 * size + 1, sun)


def _moved(coverage: Floats, low: NDArray[np.int_], to_x: Row, to_y: Row, sun: Sun) -> Floats:
    """Coverage mapped by an affine map of photo coordinates, at half the photo's size."""
    matrix = np.asarray([to_x, to_y], np.float64)
    matrix[:, 2] += matrix[:, :2] @ low
    half = (sun.frame[0] // 2 + 1, sun.frame[1] // 2 + 1)
    return floats(cv2.warpAffine(coverage, matrix / 2, half))


def _soft(mask: Floats, darkness: float, blur: float, sun: Sun) -> Floats:
    """A half-size mask blurred (by `blur` pixels of the photo) and brought to full size."""
    blurred = cv2.GaussianBlur(mask * np.float32(darkness), (0, 0), blur / 2)
    full = cv2.resize(blurred, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    return floats(full[: sun.frame[1], : sun.frame[0]])
