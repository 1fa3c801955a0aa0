"""What pseudo-bundles are made of: cut-outs, and drawn shapes for what the cut-outs do not show.

A catalogue whose photos cut badly (products in hands, heaps of fruit) still has to give a
detector. So some sprites are outlines that products have in general (boxes, bottles, rounds,
clusters), filled with pieces of the catalogue's photos or with plain colours, caps and labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthesis.cutouts import Cutout
from tasks.synthesis.random_choice import choose
from unbundle.vision.imaging import Photo

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Sprite:
    """A product to paste.

    Attributes:
        pixels: RGB uint8 `[h, w, 3]`.
        alpha: uint8 `[h, w]`; the product touches all four sides.
    """

    pixels: Photo
    alpha: NDArray[np.uint8]


def sprite_of(cutout: Cutout) -> Sprite:
    """The product of a cut-out, tightly cropped."""
    x, y, width, height = cv2.boundingRect(cutout.alpha)
    rows, columns = slice(y, y + height), slice(x, x + width)
    return Sprite(cutout.photo[rows, columns], cutout.alpha[rows, columns])


def draw_shape(photos: Sequence[Photo], side: int, random: np.random.Generator) -> Sprite:
    """A made-up product of at most `side` pixels; its surface comes from `photos` or is painted."""
    outline = choose(random, _OUTLINES)
    parts = outline(random)
    alpha = np.zeros((side, side), np.uint8)
    pixels = np.zeros((side, side, 3), np.uint8)
    printed = bool(photos) and random.random() < 0.6
    texture = _photo_piece(photos, side, random) if printed else _painted(side, random)
    for part, points in enumerate(parts):
        mask = np.zeros((side, side), np.uint8)
        cv2.fillPoly(mask, [np.round(points * (side - 1)).astype(np.int32)], 255, cv2.LINE_AA)
        # Parts beyond the first are caps and lids: another colour, the same product.
        surface = texture if part == 0 or outline is _cluster else _painted(side, random)
        if outline is _cluster:
            surface = _shade(np.roll(surface, int(random.integers(side)), axis=1), mask)
        weight = mask[..., None].astype(np.float32) / 255
        pixels = (pixels * (1 - weight) + surface * weight).astype(np.uint8)
        alpha = np.maximum(alpha, mask)
    x, y, width, height = cv2.boundingRect(alpha)
    rows, columns = slice(y, y + height), slice(x, x + width)
    return Sprite(_shade(pixels, alpha)[rows, columns], alpha[rows, columns])


def _blob(random: np.random.Generator) -> list[Points]:
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    power = random.choice([2.0, 2.0, 2.5, 4.0, 8.0])
    radius = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    for harmonic in range(1, 5):
        size = random.normal(0, 0.05 / harmonic)
        radius = radius * (1 + size * np.cos(harmonic * angle + random.uniform(0, 6.28)))
    aspect = random.uniform(0.15, 1.0)
    points = np.stack([radius * np.cos(angle) * aspect, radius * np.sin(angle)], axis=1)
    return [_fit(points)]


def _bottle(random: np.random.Generator) -> list[Points]:
    body = random.uniform(0.12, 0.45)
    neck = body * random.uniform(0.3, 1.0)
    cap = neck * random.uniform(0.7, 1.3)
    top, shoulder = sorted(random.uniform(0.08, 0.5, 2))
    height = np.array([top, shoulder, random.uniform(shoulder, 0.9), 1.0])
    width = np.array([neck, body, body * random.uniform(0.8, 1.1), body * random.uniform(0.7, 1)])
    left = np.stack([0.5 - width, height], axis=1)
    right = np.stack([0.5 + width, height], axis=1)[::-1]
    lid = np.array([[0.5 - cap, 0], [0.5 + cap, 0], [0.5 + cap, top], [0.5 - cap, top]])
    return [np.concatenate([left, right]).astype(np.float32), lid.astype(np.float32)]


def _carton(random: np.random.Generator) -> list[Points]:
    width, top = random.uniform(0.25, 0.9), random.uniform(0, 0.25)
    bend, side = random.uniform(-0.12, 0.12), random.uniform(0, 0.3)
    front = [[0, top], [width, top + bend], [width, 1 + bend / 2], [0, 1 - abs(bend) / 2]]
    flank = [[width, top + bend], [width + side, top], [width + side, 0.95], [width, 1 + bend / 2]]
    gable = [[0, top], [width * 0.2, 0], [width * 0.9, bend], [width, top + bend]]
    corners = _fit(np.array(front + flank + gable))
    count = int(random.integers(1, 4))
    return [corners[4 * i : 4 * i + 4] for i in range(count)]


def _polygon(random: np.random.Generator) -> list[Points]:
    angle = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(5, 10))))
    points = np.stack([np.cos(angle) * random.uniform(0.3, 1), np.sin(angle)], axis=1)
    return [_fit(points)]


def _cluster(random: np.random.Generator) -> list[Points]:
    piece = _blob(random)[0] - 0.5
    count = int(random.integers(2, 5))
    spread = random.uniform(0.35, 0.6)
    angle = random.uniform(0, 6.28) + np.arange(count) * 2 * np.pi / count
    centres = np.stack([np.cos(angle), np.sin(angle)], axis=1) * spread
    moved = _fit(np.concatenate([piece + centre for centre in centres]))
    return list(moved.reshape(count, -1, 2))


_OUTLINES = (_blob, _blob, _bottle, _bottle, _carton, _polygon, _cluster)


def _fit(points: NDArray[np.floating]) -> Points:
    low = points.min(axis=0)
    return np.asarray((points - low) / max(np.ptp(points, axis=0).max(), 1e-6), np.float32)


def _photo_piece(photos: Sequence[Photo], side: int, random: np.random.Generator) -> Photo:
    photo = choose(random, photos)
    height, width = photo.shape[:2]
    share = random.uniform(0.25, 0.9)
    across, down = max(2, int(width * share)), max(2, int(height * share))
    x, y = (int(random.integers(0, limit + 1)) for limit in (width - across, height - down))
    piece = photo[y : y + down, x : x + across]
    return np.asarray(cv2.resize(piece, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def _painted(side: int, random: np.random.Generator) -> Photo:
    """A plain surface, often with a label that bears lines like writing."""
    surface = np.full((side, side, 3), random.integers(10, 256, 3), np.uint8)
    for _ in range(int(random.integers(0, 3))):
        x0, x1 = sorted(random.integers(0, side, 2).tolist())
        y0, y1 = sorted(random.integers(0, side, 2).tolist())
        colour = random.integers(0, 256, 3).tolist()
        cv2.rectangle(surface, (x0, y0), (x1, y1), colour, cv2.FILLED)
        ink = random.integers(0, 256, 3).tolist()
        for line in range(y0 + 4, y1 - 2, max(5, side // 16)):
            end = int(random.integers(x0, x1 + 1))
            cv2.line(surface, (x0 + 3, line), (max(x0 + 3, end - 3), line), ink, 2)
    return surface


def _shade(pixels: Photo, alpha: NDArray[np.uint8]) -> Photo:
    """Darken towards the left and right ends, as round things look."""
    x, _, width, _ = cv2.boundingRect(alpha)
    across = (np.arange(pixels.shape[1], dtype=np.float32) - x) / max(width, 1) * 2 - 1
    light = 1 - 0.35 * np.clip(np.abs(across - 0.2), 0, 1) ** 2
    return np.asarray(pixels * light[None, :, None], np.uint8)
