"""Pen and flat colour: what every picture of this style is drawn with."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .products import Colour

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]

INK: Colour = (38, 30, 44)
"""Of outlines."""

BITS = 4
"""Of the fraction in OpenCV's coordinates."""


def points(*corners: tuple[float, float]) -> Points:
    """Corners as `[N, 2]`."""
    return np.asarray(corners, np.float64)


def fill(picture: Picture, outline: Points, colour: Colour | int) -> None:
    """Fill a polygon with a flat colour."""
    exact = np.round(outline * 2**BITS).astype(np.int32)
    shade = colour if isinstance(colour, tuple) else (colour,)
    cv2.fillPoly(picture, [exact], shade, cv2.LINE_AA, BITS)


def stroke(
    picture: Picture,
    path: Points,
    width: int,
    colour: Colour | int = INK,
    *,
    closed: bool = True,
) -> None:
    """Draw a line along a path."""
    exact = np.round(path * 2**BITS).astype(np.int32)
    shade = colour if isinstance(colour, tuple) else (colour,)
    cv2.polylines(picture, [exact], closed, shade, max(1, width), cv2.LINE_AA, BITS)


def panel(picture: Picture, outline: Points, colour: Colour, width: int = 2) -> None:
    """A filled polygon with its ink outline."""
    fill(picture, outline, colour)
    stroke(picture, outline, width)


def capsule(
    picture: Picture, start: Points, end: Points, thick: int, colour: Colour, width: int = 2
) -> None:
    """A stroke with round ends and an ink outline: fingers, arms, rods."""
    path = np.stack([start, end])
    stroke(picture, path, thick + 2 * width, INK, closed=False)
    stroke(picture, path, thick, colour, closed=False)


def ellipse(x: float, y: float, wide: float, tall: float, count: int = 40) -> Points:
    """An ellipse with half sides `wide` and `tall`, as a polygon."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + wide * np.cos(angle), y + tall * np.sin(angle)], axis=1)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Points:
    """An upright rectangle."""
    return points((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def toned(colour: Colour, factor: float) -> Colour:
    """A darker or lighter colour."""
    red, green, blue = (int(np.clip(value * factor, 0, 255)) for value in colour)
    return red, green, blue


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two."""
    red, green, blue = (
        round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True)
    )
    return red, green, blue


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # A bold serif with umlauts; the demo prints without it.
    packages = importlib.util.find_spec("matplotlib")
    assert packages is not None
    assert packages.origin is not None
    fonts = Path(packages.origin).parent / "mpl-data/fonts/ttf"
    return ImageFont.truetype(fonts / "STIXGeneralBol.ttf", size)


@lru_cache(maxsize=1024)
def _word(text: str, size: int) -> Picture:
    """Coverage of a word, uint8, tightly cropped."""
    font = _font(size)
    left, top, right, bottom = (int(value) for value in font.getbbox(text))
    image = Image.new("L", (max(1, right - left + 2), max(1, bottom - top + 2)))
    ImageDraw.Draw(image).text((1 - left, 1 - top), text, fill=255, font=font)
    return np.asarray(image)


def write(
    picture: Picture, text: str, x: float, y: float, wide: float, tall: float, colour: Colour
) -> None:
    """Write a word centred at x, y, as large as `wide` x `tall` allows."""
    size = max(6, int(tall))
    word = _word(text, size)
    factor = min(wide / word.shape[1], tall / word.shape[0])
    target = (max(1, round(word.shape[1] * factor)), max(1, round(word.shape[0] * factor)))
    cover = np.asarray(cv2.resize(word, target, interpolation=cv2.INTER_AREA), np.float32)
    left, top = round(x - target[0] / 2), round(y - target[1] / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + target[0]), min(picture.shape[0], top + target[1])
    if x1 > x0 and y1 > y0:
        weight = cover[y0 - top : y1 - top, x0 - left : x1 - left, None] / 255
        area = picture[y0:y1, x0:x1]
        area[:] = (area * (1 - weight) + np.asarray(colour) * weight).astype(np.uint8)
