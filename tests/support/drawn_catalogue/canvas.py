"""A photo while it is composed: products pasted with hard shadows, and whose each pixel is."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .packs import Sprite
from .pen_strokes import Picture

Box = tuple[int, int, int, int]

VISIBLE = 0.6
"""Share of every product's pixels that a photo shows at least."""

SHADOW = 0.74
"""Light in a product's shadow, which is hard-edged."""


class Canvas:
    """A photo while it is composed: its pixels, whose they are, and how many each product has."""

    def __init__(self, pixels: Picture, count: int) -> None:
        self.pixels = pixels
        self.owner: NDArray[np.int16] = np.full(pixels.shape[:2], -1, np.int16)
        self.whole = [0] * count

    def place(
        self, sprite: Sprite, index: int, middle: tuple[float, float], size: float, turn: float = 0
    ) -> tuple[float, float, float, float]:
        """Paste a product `size` pixels high around `middle`; returns its upright extent."""
        colour, alpha = _turned(sprite, size, turn)
        tall, wide = alpha.shape
        left, top = round(middle[0] - wide / 2), round(middle[1] - tall / 2)
        step = max(2, round(size * 0.04))
        self._shade(alpha, left + step, top + step)
        window, part = self._window(alpha.shape, left, top)
        weight = alpha[part][..., None] / np.float32(255)
        area = self.pixels[window]
        area[:] = (area * (1 - weight) + colour[part] * weight).astype(np.uint8)
        self.owner[window][alpha[part] > 127] = index
        self.whole[index] = int((alpha > 127).sum())
        return left, top, left + wide, top + tall

    def cover(self, draw: Callable[[Picture], None]) -> None:
        """Draw something that belongs to no product and may hide parts of them."""
        before = self.pixels.copy()
        draw(self.pixels)
        self.owner[(before != self.pixels).any(axis=2)] = -1

    def boxes(self) -> list[Box] | None:
        """Boxes of what shows; None where too little of a product does."""
        found = []
        for index, whole in enumerate(self.whole):
            seen = (self.owner == index).astype(np.uint8)
            if seen.sum() < VISIBLE * whole:
                return None
            x, y, wide, tall = cv2.boundingRect(seen)
            found.append((x, y, x + wide, y + tall))
        return found

    def _shade(self, alpha: Picture, left: int, top: int) -> None:
        window, part = self._window(alpha.shape, left, top)
        area = self.pixels[window]
        dark = (area * SHADOW).astype(np.uint8)
        area[:] = np.where((alpha[part] > 127)[..., None], dark, area)

    def _window(
        self, shape: tuple[int, ...], left: int, top: int
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        tall, wide = self.owner.shape
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = max(x0, min(wide, left + shape[1])), max(y0, min(tall, top + shape[0]))
        window = slice(y0, y1), slice(x0, x1)
        return window, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def _turned(sprite: Sprite, size: float, turn: float) -> tuple[Picture, Picture]:
    factor = size / sprite.alpha.shape[0]
    target = (max(2, round(sprite.alpha.shape[1] * factor)), max(2, round(size)))
    colour = cv2.resize(sprite.colour, target, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(sprite.alpha, target, interpolation=cv2.INTER_AREA)
    if turn:
        wide, tall = target
        matrix = cv2.getRotationMatrix2D((wide / 2, tall / 2), turn, 1.0)
        cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
        reach = (int(np.ceil(wide * cos + tall * sin)), int(np.ceil(wide * sin + tall * cos)))
        matrix[:, 2] += np.asarray([reach[0] / 2 - wide / 2, reach[1] / 2 - tall / 2])
        colour = cv2.warpAffine(colour, matrix, reach, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(alpha, matrix, reach)
    return np.asarray(colour, np.uint8), np.asarray(alpha, np.uint8)
