"""Pastes sprites into a picture, with what surrounds products in photos: shadows and stickers."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthesis.products_to_paste import Sprite
from tasks.synthesis.pseudo_bundle_material import Box, Pixels
from unbundle.vision.imaging import Photo

MIRRORED = 0.5
"""Share of products that are mirrored: print then cannot be what tells a product."""

STRETCH = 0.12
"""Standard deviation of the logarithm by which a side grows and the other shrinks: perspective, and
packs of other proportions."""

COLOUR = 0.08
"""Standard deviation of gains, of all channels together and of each: exposure, white balance."""

SHADOWS = 0.4
"""Share of products that throw a shadow: many shops cut it away."""

STICKERS = 0.08
"""Share of products with a price or promotion sticker."""


@dataclass(frozen=True)
class Placed:
    """A pasted product: its box, where it is still visible, its pixels when whole."""

    box: Box
    visible: NDArray[np.bool_]
    pixels: int


def transform(
    sprite: Sprite,
    size: float,
    angle: float,
    random: np.random.Generator,
    *,
    mirrored: float = MIRRORED,
) -> Sprite:
    """Scale, stretch, turn, mirror and recolour a sprite.

    Args:
        sprite: the product.
        size: geometric mean of its sides afterwards, before it is turned, in pixels.
        angle: in degrees.
        random: decides the rest.
        mirrored: how likely it is mirrored, 0 to 1.
    """
    height, width = sprite.alpha.shape
    factor = max(size, 8) / np.sqrt(height * width)
    stretch = np.exp(random.normal(0, STRETCH))
    across, down = factor * stretch, factor / stretch
    pixels, alpha = sprite.pixels, sprite.alpha
    if factor < 0.6:
        target = (max(2, round(width * across)), max(2, round(height * down)))
        pixels = _resized(pixels, target)
        alpha = _resized(alpha, target)
        width, height, across, down = *target, 1.0, 1.0
    matrix = cv2.getRotationMatrix2D((width * across / 2, height * down / 2), angle, 1.0)
    matrix = matrix @ np.diag([across, down, 1.0])
    if random.random() < mirrored:
        matrix = matrix @ np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]], np.float64)
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    reached = corners @ matrix.T
    low = np.floor(reached.min(axis=0)) - 1
    matrix[:, 2] -= low
    canvas = tuple((np.ceil(reached.max(axis=0)) - low + 1).astype(int).tolist())
    edge = cv2.BORDER_REPLICATE
    turned = np.asarray(cv2.warpAffine(pixels, matrix, canvas, borderMode=edge), np.uint8)
    mask = np.asarray(cv2.warpAffine(alpha, matrix, canvas), np.uint8)
    x, y, wide, tall = cv2.boundingRect((mask > 127).astype(np.uint8))
    if not wide:
        return Sprite(turned, mask)
    rows, columns = slice(y, y + tall), slice(x, x + wide)
    return Sprite(recolour(turned[rows, columns], random), mask[rows, columns])


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def recolour(pixels: Photo, random: np.random.Generator) -> Photo:
    """Change exposure and white balance a little."""
    gain = 1 + random.normal(0, COLOUR, 3) + random.normal(0, COLOUR)
    shift = random.normal(0, 255 * COLOUR / 2)
    levels = np.arange(256)[:, None] * gain + shift
    table = np.clip(levels, 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


def paste(
    canvas: Pixels, sprite: Sprite, spot: tuple[int, int], random: np.random.Generator
) -> Placed:
    """Draw a sprite with its shadow."""
    height, width = canvas.shape[:2]
    x, y = spot
    down, across = sprite.alpha.shape
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + across), min(height, y + down)
    visible = np.zeros((height, width), bool)
    pixels = int((sprite.alpha > 127).sum())
    if x1 <= x0 or y1 <= y0 or not pixels:
        return Placed((0.0, 0.0, 0.0, 0.0), visible, max(pixels, 1))
    if random.random() < SHADOWS:
        _shadow(canvas, sprite, spot, random)
    part = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
    weight = sprite.alpha[part][..., None].astype(np.float32) / 255
    area = canvas[y0:y1, x0:x1]
    area += (sprite.pixels[part] - area) * weight
    visible[y0:y1, x0:x1] = sprite.alpha[part] > 127
    if random.random() < STICKERS:
        _sticker(canvas, (x0, y0, x1, y1), random)
    return Placed((x0, y0, x1, y1), visible, pixels)


def _shadow(
    canvas: Pixels, sprite: Sprite, spot: tuple[int, int], random: np.random.Generator
) -> None:
    """Darken the canvas in the sprite's form, moved aside and blurred."""
    height, width = canvas.shape[:2]
    down, across = sprite.alpha.shape
    reach = 1 + int(random.uniform(0.03, 0.12) * max(across, down))
    pad, window = 2 * reach, (2 * reach + 1, 2 * reach + 1)
    shape = cv2.copyMakeBorder(sprite.alpha, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    # Two box blurs look like a Gaussian and cost the same at every width.
    soft = np.asarray(cv2.blur(cv2.blur(shape, window), window), np.float32)
    moved = np.asarray(spot) - pad + np.round(random.normal(0, 0.06, 2) * (across, down) + (0, 2))
    x, y = moved.astype(int).tolist()
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(width, x + soft.shape[1]), min(height, y + soft.shape[0])
    if x1 > x0 and y1 > y0:
        strength = np.float32(random.uniform(0.1, 0.5) / 255)
        canvas[y0:y1, x0:x1] *= 1 - soft[y0 - y : y1 - y, x0 - x : x1 - x, None] * strength


def _sticker(canvas: Pixels, box: Box, random: np.random.Generator) -> None:
    """A price or promotion sticker somewhere on the box; it belongs to the product."""
    x0, y0, x1, y1 = box
    radius = max(2, round(min(x1 - x0, y1 - y0) * random.uniform(0.08, 0.2)))
    # Within the box by its radius: a sticker does not change the product's extent.
    x = round(random.uniform(x0 + radius, max(x0 + radius, x1 - radius)))
    y = round(random.uniform(y0 + radius, max(y0 + radius, y1 - radius)))
    colour = random.choice([[220, 30, 40], [250, 210, 20], [255, 255, 255], [30, 120, 60]])
    if random.random() < 0.5:
        cv2.circle(canvas, (x, y), radius, colour.tolist(), cv2.FILLED, cv2.LINE_AA)
    else:
        corner = (x - radius, y - radius // 2), (x + radius, y + radius // 2)
        cv2.rectangle(canvas, *corner, colour.tolist(), cv2.FILLED)
