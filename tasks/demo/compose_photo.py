"""Composes photos: ground, products with their shadows, promotions; and boxes of what shows."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.demo.camera_effects import expose
from tasks.demo.photo_backgrounds import FLAT, GROUNDS, Picture, crop, studio
from tasks.demo.product_arrangements import Spot, alone, together
from tasks.demo.products_per_photo import Shot
from tasks.demo.promotion_stickers import stick
from tasks.demo.shadows import Sun, shadow
from tasks.demo.surface_meshes import Floats, floats

Box = tuple[int, int, int, int]

GROUND_COPIES = 4
"""Drawings of each kind of ground."""

CLEAN = 0.6
"""Share of photos on white whose white a shop has cleaned to the last pixel."""

SINGLE_SIDE = (0.64, 0.875)
"""Longer side of a single product's photo, as a share of a bundle's."""

SLANT = 0.35
"""Largest step of a shadow to the side per pixel of a product's height."""

SKEW = 0.03
"""Largest movement of a picture's corner, as a share of its size: perspective."""

BRIGHTNESS = (0.94, 1.05)
"""Of single products within a photo."""

SIZE_COMPRESSION = 0.22
"""Exponent by which areas even out: 0 keeps true sizes, 0.5 makes all equal."""

VISIBLE = 0.4
"""Coverage from which a pixel counts as the product's."""


@dataclass(frozen=True)
class Stock:
    """The drawn products and grounds, in a folder that all workers read.

    Attributes:
        folder: `<product>_<view>.npy` and `<ground>_<copy>.npy`.
        scales: pixels per millimetre of each product's pictures.
        side: longer side of a bundle's photo in pixels.
    """

    folder: Path
    scales: tuple[float, ...]
    side: int

    def picture(self, product: int, view: int) -> Picture:
        """A product's picture, uint8 `[height, width, 4]`, coverage-multiplied."""
        return np.asarray(np.load(self.folder / f"{product}_{view}.npy"))

    def ground(self, kind: str, copy: int) -> Picture:
        """A ground, uint8 `[side, side, 3]`."""
        return _load_ground(self.folder / f"{kind}_{copy}.npy")


@lru_cache(maxsize=64)
def _load_ground(path: Path) -> Picture:
    return np.asarray(np.load(path))


@dataclass(frozen=True)
class Habits:
    """How often the photos of a split have what, as probabilities.

    Attributes:
        white: a nearly white backdrop.
        lying: on white, products that lie instead of standing.
        sticker: a promotion over the photo.
    """

    white: float
    lying: float
    sticker: float


def compose(
    stock: Stock, shot: Shot, price: int, habits: Habits, rng: np.random.Generator
) -> tuple[Picture, list[Box]]:
    """Take a photo.

    Args:
        stock: drawn products and grounds.
        shot: which products, and from which sides.
        price: shown on a price tag.
        habits: of the photo's split.
        rng: of the photo.

    Returns:
        The photo, uint8 RGB, and the box of what is visible of each product, in the shot's order.
    """
    kind = "studio" if rng.random() < habits.white else list(GROUNDS)[rng.integers(len(GROUNDS))]
    lying = kind in FLAT or (kind == "studio" and rng.random() < habits.lying)
    pictures = [stock.picture(*pair) for pair in zip(shot.products, shot.views, strict=True)]
    sizes = [
        _shown(picture, stock.scales[index])
        for picture, index in zip(pictures, shot.products, strict=True)
    ]
    frame = _frame(stock.side, rng, len(sizes), lying)
    if len(sizes) == 1:
        spots = [alone(rng, frame, sizes[0], lying)]
    else:
        spots = together(rng, frame, sizes, lying)
    # Planes of one colour each: NumPy multiplies them by masks three times as fast.
    canvas = np.ascontiguousarray(_backdrop(stock, kind, rng, frame).transpose(2, 0, 1), np.float32)
    sun = Sun(float(rng.uniform(-SLANT, SLANT)), lying, frame)
    owner = np.full(frame[::-1], -1, np.int16)
    for spot in spots:
        _put(canvas, owner, pictures[spot.position], spot, sun, rng)
    photo = np.asarray(cv2.merge(list(np.clip(canvas, 0, 255).astype(np.uint8))))
    if rng.random() < habits.sticker:
        photo = stick(photo, rng, price)
    clean = kind == "studio" and rng.random() < CLEAN
    return expose(photo, rng, clean=clean), [_box(owner == index) for index in range(len(sizes))]


def _shown(picture: Picture, scale: float) -> tuple[float, float]:
    """Width and height in which a product appears: small ones are shown larger than they are."""
    tall, wide = picture.shape[0] / scale, picture.shape[1] / scale
    factor = (wide * tall) ** -SIZE_COMPRESSION
    return wide * factor, tall * factor


def _frame(side: int, rng: np.random.Generator, count: int, lying: bool) -> tuple[int, int]:
    """Width and height of the photo in pixels; a row of products takes a wide one."""
    ratio = (1.0, 0.75, 0.8)[int(rng.integers(3))]
    if count == 1:
        longer = int(side * rng.uniform(*SINGLE_SIDE))
        return int(longer * max(ratio, 0.8)), longer
    shorter = int(side * ratio)
    tall = rng.random() < 0.4 and (lying or count == 2)
    return (shorter, side) if tall else (side, shorter)


def _backdrop(stock: Stock, kind: str, rng: np.random.Generator, frame: tuple[int, int]) -> Picture:
    if kind == "studio":
        return studio(rng, *frame)
    ground = stock.ground(kind, int(rng.integers(GROUND_COPIES)))
    return crop(ground, rng, *frame, upright=kind not in FLAT)


def _put(
    canvas: Floats,
    owner: NDArray[np.int16],
    picture: Picture,
    spot: Spot,
    sun: Sun,
    rng: np.random.Generator,
) -> None:
    """Warp a product into its place on the canvas `[3, height, width]`, over its own shadow."""
    corners = spot.corners(rng, SKEW)
    low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)) + 1, sun.frame).astype(int)
    warped = cv2.split(_warped(picture, corners - low.astype(np.float32), high - low))
    coverage = floats(warped[3] / 255)
    canvas *= 1 - shadow(coverage, low, max(spot.size), sun)
    window = canvas[:, low[1] : high[1], low[0] : high[0]]
    window *= 1 - coverage
    window += np.stack(warped[:3]) * np.float32(rng.uniform(*BRIGHTNESS))
    owner[low[1] : high[1], low[0] : high[0]][coverage > VISIBLE] = spot.position


def _warped(picture: Picture, corners: Floats, size: NDArray[np.int_]) -> Floats:
    tall, wide = picture.shape[:2]
    target = float(np.linalg.norm(corners[3] - corners[0]))
    if target < 0.75 * tall:  # the warp alone would skip pixels
        factor = 1.1 * target / tall
        size_ = (max(1, round(wide * factor)), max(1, round(tall * factor)))
        picture = np.asarray(cv2.resize(picture, size_, interpolation=cv2.INTER_AREA), np.uint8)
        tall, wide = picture.shape[:2]
    source = floats([[0, 0], [wide, 0], [wide, tall], [0, tall]])
    matrix = cv2.getPerspectiveTransform(source, corners)
    return floats(cv2.warpPerspective(picture, matrix, size.tolist()))


def _box(seen: NDArray[np.bool_]) -> Box:
    """The box around the pixels that are True."""
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
