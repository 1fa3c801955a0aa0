"""Things in shop photos that are no products: lines, flecks, words, bands and badges."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthesis.pseudo_bundle_material import Pixels
from tasks.synthesis.random_choice import choose
from unbundle.vision.imaging import Photo

Colour = tuple[int, int, int]

SIGNS = "ABCDEFGHIKLMNOPRSTUVWY0123456789%+-$!."
"""What the words on badges and backgrounds are made of; OpenCV writes no other script."""

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)


def scatter_clutter(canvas: Pixels, random: np.random.Generator) -> Pixels:
    """The background with one to three kinds of clutter on it."""
    # OpenCV writes text on bytes only.
    scene = np.clip(canvas, 0, 255).astype(np.uint8)
    for _ in range(int(random.integers(1, 4))):
        choose(random, _CLUTTER)(scene, _colour(random), random)
    return scene.astype(np.float32)


def add_badge(canvas: Pixels, random: np.random.Generator) -> Pixels:
    """The picture with a price or promotion badge laid over it, mostly in a corner."""
    scene = np.clip(canvas, 0, 255).astype(np.uint8)
    height, width = scene.shape[:2]
    radius = int(min(height, width) * random.uniform(0.05, 0.13))
    wide = random.random() < 0.5
    across = int(radius * random.uniform(1.2, 2.0)) if wide else radius
    edge = random.uniform(0, 0.06, 2) * (width, height)
    x, y = np.round(edge + np.asarray([across, radius])).astype(int).tolist()
    x = width - x if random.random() < 0.5 else x
    y = height - y if random.random() < 0.5 else y
    if random.random() < 0.2:
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
    colour = _colour(random)
    corners = _pill(across, radius // 2 + 1) if wide else _star(radius, random)
    cv2.fillPoly(scene, [corners + np.asarray([x, y], np.int32)], colour, cv2.LINE_AA)
    ink = (255, 255, 255) if sum(colour) < 400 else (20, 20, 20)
    text = _words(random, 2, 6)
    (long, tall), _ = cv2.getTextSize(text, FONTS[1], 1.0, 1)
    size = 1.6 * across / long
    start = (round(x - long * size / 2), round(y + tall * size / 2))
    cv2.putText(scene, text, start, choose(random, FONTS), size, ink, 1, cv2.LINE_AA)
    return scene.astype(np.float32)


def _colour(random: np.random.Generator) -> Colour:
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _words(random: np.random.Generator, least: int, most: int) -> str:
    return "".join(choose(random, SIGNS) for _ in range(int(random.integers(least, most + 1))))


def _star(radius: int, random: np.random.Generator) -> NDArray[np.int32]:
    """A disc or a star with many points."""
    points = 48
    depth = choose(random, (0.0, 0.0, 0.12, 0.25))
    angle = np.arange(points) * 2 * np.pi / points
    reach = radius * (1 - depth * (np.arange(points) % 4 > 1))
    return np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1).astype(np.int32)


def _pill(across: int, down: int) -> NDArray[np.int32]:
    """A rectangle with rounded ends, about its centre."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    x = np.sign(np.cos(angle)) * max(across - down, 0) + down * np.cos(angle)
    return np.stack([x, down * np.sin(angle)], axis=1).astype(np.int32)


def _line(scene: Photo, colour: Colour, random: np.random.Generator) -> None:
    start, end = _places(scene, 2, random)
    cv2.line(scene, start, end, colour, int(random.integers(1, 3)), cv2.LINE_AA)


def _speck(scene: Photo, colour: Colour, random: np.random.Generator) -> None:
    place = _places(scene, 1, random)[0]
    cv2.circle(scene, place, int(random.integers(1, 5)), colour, cv2.FILLED, cv2.LINE_AA)


def _text(scene: Photo, colour: Colour, random: np.random.Generator) -> None:
    place, size = _places(scene, 1, random)[0], random.uniform(0.25, 0.8)
    cv2.putText(scene, _words(random, 3, 9), place, choose(random, FONTS), size, colour, 1)


def _flecks(scene: Photo, colour: Colour, random: np.random.Generator) -> None:
    """Small pieces all over: terrazzo, confetti, petals."""
    reach = int(random.integers(2, 7))
    for place in _places(scene, 40, random):
        corners = np.asarray(place) + random.integers(-reach, reach + 1, (4, 2))
        cv2.fillConvexPoly(scene, cv2.convexHull(corners.astype(np.int32)), colour)


def _band(scene: Photo, colour: Colour, random: np.random.Generator) -> None:
    """A band along the border, as shops print their slogans on."""
    height = scene.shape[0]
    edge = max(2, int(height * random.uniform(0.03, 0.12)))
    top = 0 if random.random() < 0.5 else height - edge
    scene[top : top + edge] = colour
    ink = (255, 255, 255) if sum(colour) < 400 else (20, 20, 20)
    place = (int(random.integers(0, scene.shape[1])), top + edge - 2)
    cv2.putText(scene, _words(random, 4, 14), place, FONTS[0], edge / 30, ink, 1, cv2.LINE_AA)


_CLUTTER: tuple[Callable[[Photo, Colour, np.random.Generator], None], ...] = (
    _line,
    _speck,
    _text,
    _flecks,
    _band,
)


def _places(scene: Photo, count: int, random: np.random.Generator) -> list[tuple[int, int]]:
    height, width = scene.shape[:2]
    columns, rows = random.integers(0, width, count), random.integers(0, height, count)
    return list(zip(columns.tolist(), rows.tolist(), strict=True))
