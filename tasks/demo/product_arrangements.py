"""Where products stand or lie in a photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.demo.surface_meshes import Floats

HIDDEN = 0.3
"""Largest share of a product's box that products in front of it may cover."""

STEP = 0.06
"""How far back a product of a row may stand, as a share of the photo's height."""

ATTEMPTS = 400
"""At a layout; each is a little smaller than the one before."""

SHRINK = 0.995
"""Of the products between two attempts."""


@dataclass(frozen=True)
class Spot:
    """A product's place: its outline box before it is turned.

    Attributes:
        position: which of the given products.
        centre: x and y in pixels.
        size: width and height in pixels.
        turn: clockwise, degrees.
    """

    position: int
    centre: tuple[float, float]
    size: tuple[float, float]
    turn: float

    def corners(self, rng: np.random.Generator, skew: float) -> Floats:
        """Corners `[4, 2]`: top left, top right, bottom right, bottom left, each moved at random.

        Args:
            rng: of the photo.
            skew: largest movement, as a share of the size.
        """
        wide, tall = self.size
        half = np.asarray([[-wide, -tall], [wide, -tall], [wide, tall], [-wide, tall]]) / 2
        half += rng.uniform(-skew, skew, (4, 2)) * [wide, tall]
        angle = np.deg2rad(self.turn)
        matrix = np.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return np.asarray(half @ matrix + self.centre, np.float32)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The upright box around the turned one: x0, y0, x1, y1."""
        angle = np.deg2rad(self.turn)
        cos, sin = abs(float(np.cos(angle))), abs(float(np.sin(angle)))
        wide = (self.size[0] * cos + self.size[1] * sin) / 2
        tall = (self.size[0] * sin + self.size[1] * cos) / 2
        x, y = self.centre
        return x - wide, y - tall, x + wide, y + tall


def alone(
    rng: np.random.Generator, frame: tuple[int, int], size: tuple[float, float], lying: bool
) -> Spot:
    """One product that fills most of the frame, somewhat off centre."""
    turn = float(rng.uniform(-25, 25) if lying else rng.normal(0, 3))
    natural = Spot(0, (0, 0), size, turn).extent
    wide, tall = natural[2] - natural[0], natural[3] - natural[1]
    factor = float(rng.uniform(0.66, 0.93)) * min(frame[0] / wide, frame[1] / tall)
    free = [frame[0] - wide * factor, frame[1] - tall * factor]
    centre = [
        side / 2 + float(rng.uniform(-0.35, 0.35)) * room
        for side, room in zip(frame, free, strict=True)
    ]
    return Spot(0, (centre[0], centre[1]), (size[0] * factor, size[1] * factor), turn)


def together(
    rng: np.random.Generator,
    frame: tuple[int, int],
    sizes: Sequence[tuple[float, float]],
    lying: bool,
) -> list[Spot]:
    """Several products that overlap a little; the first is drawn first, furthest back.

    Args:
        rng: of the photo.
        frame: width and height in pixels.
        sizes: width and height of each product in a common unit.
        lying: seen from above on a table, turned freely; else standing in front of each other.
    """
    place = _lying if lying else _standing
    area = sum(wide * tall for wide, tall in sizes)
    full = float(np.sqrt(frame[0] * frame[1] / area))
    for attempt in range(ATTEMPTS):
        factor = full * float(rng.uniform(0.78, 0.95)) * SHRINK**attempt
        spots = place(rng, frame, [(wide * factor, tall * factor) for wide, tall in sizes])
        if _fits(spots, frame):
            return spots
    raise RuntimeError(f"no layout of {len(sizes)} products in {frame} pixels")


def _standing(
    rng: np.random.Generator, frame: tuple[int, int], sizes: list[tuple[float, float]]
) -> list[Spot]:
    """Products on a table: one row, or from four on also a row of tall ones behind short ones."""
    ground = frame[1] * float(rng.uniform(0.88, 0.96))
    order = rng.permutation(len(sizes)).tolist()
    if len(order) < 4 or rng.random() < 0.3:
        return _row(rng, frame, sizes, order, ground)
    by_height = sorted(order, key=lambda index: sizes[index][1])
    front = by_height[: len(order) // 2]
    behind = [index for index in order if index not in front]
    depth = frame[1] * float(rng.uniform(0.07, 0.14))
    spots = _row(rng, frame, sizes, behind, ground - depth)
    return [*spots, *_row(rng, frame, sizes, front, ground)]


def _row(
    rng: np.random.Generator,
    frame: tuple[int, int],
    sizes: list[tuple[float, float]],
    order: list[int],
    ground: float,
) -> list[Spot]:
    """Products side by side, some a step back, nearer ones last."""
    share = np.asarray([sizes[index][0] for index in order])
    middles = (np.cumsum(share) - share / 2) / share.sum()
    room = share.sum() * float(rng.uniform(0.8, 1.15)) + 0.03 * frame[0]
    spread = min(1.0, room / frame[0])
    shift = float(rng.uniform(-0.5, 0.5)) * (1 - spread)
    spots = []
    for middle, index in zip(middles, order, strict=True):
        x = frame[0] * (0.5 + shift + (float(middle) - 0.5) * spread)
        y = ground - STEP * frame[1] * float(rng.random()) - sizes[index][1] / 2
        spots.append(Spot(index, (x, y), sizes[index], float(rng.normal(0, 1.5))))
    return sorted(spots, key=lambda spot: spot.extent[3])


def _lying(
    rng: np.random.Generator, frame: tuple[int, int], sizes: list[tuple[float, float]]
) -> list[Spot]:
    """Products scattered on a table."""
    tilt = float(rng.uniform(-18, 18))
    spots = []
    for index, (wide, tall) in enumerate(sizes):
        turn = tilt + float(rng.normal(0, 9))
        half = max(wide, tall) * 0.45
        centre = (
            float(rng.uniform(half, max(half + 1, frame[0] - half))),
            float(rng.uniform(half, max(half + 1, frame[1] - half))),
        )
        spots.append(Spot(index, centre, (wide, tall), turn))
    return spots


def _fits(spots: Sequence[Spot], frame: tuple[int, int]) -> bool:
    """Every product is inside the frame and none is covered too much."""
    boxes = [spot.extent for spot in spots]
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        if x0 < 1 or y0 < 1 or x1 > frame[0] - 1 or y1 > frame[1] - 1:
            return False
        covered = sum(
            max(0.0, min(x1, other[2]) - max(x0, other[0]))
            * max(0.0, min(y1, other[3]) - max(y0, other[1]))
            for other in boxes[index + 1 :]
        )
        if covered > HIDDEN * (x1 - x0) * (y1 - y0):
            return False
    return True
