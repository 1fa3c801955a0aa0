"""Where the groceries are shown: patterned paper, white, shelves, cardboard boxes and hands."""

from collections.abc import Callable

import cv2
import numpy as np

from .pen_strokes import (
    Picture,
    Points,
    capsule,
    ellipse,
    fill,
    panel,
    points,
    rectangle,
    stroke,
    toned,
)
from .products import Colour

PAPERS: tuple[Colour, ...] = (
    (246, 220, 190), (190, 222, 214), (214, 206, 236), (240, 196, 196), (252, 240, 200),
    (120, 160, 176), (230, 150, 110), (86, 92, 120), (170, 196, 130), (222, 222, 226),
)  # fmt: skip
WOOD: tuple[Colour, ...] = ((206, 160, 110), (166, 116, 76), (226, 200, 164), (130, 130, 138))
CARDBOARD: Colour = (204, 164, 116)
SKINS: tuple[Colour, ...] = ((250, 214, 184), (232, 180, 140), (176, 120, 84), (110, 72, 54))
SLEEVES: tuple[Colour, ...] = ((70, 110, 170), (190, 60, 70), (80, 140, 100), (60, 60, 70))


def one_of(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """A colour of a palette."""
    return colours[int(rng.integers(len(colours)))]


def white(rng: np.random.Generator, wide: int, tall: int) -> Picture:
    """Nearly white, as shops show single products."""
    return np.full((tall, wide, 3), int(rng.integers(248, 256)), np.uint8)


def paper(rng: np.random.Generator, wide: int, tall: int) -> Picture:
    """A flat colour with a printed pattern, often none."""
    colour = one_of(rng, PAPERS)
    sheet = np.full((tall, wide, 3), colour, np.uint8)
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
    pattern(sheet, toned(colour, float(rng.choice([0.86, 0.92, 1.1]))), rng)
    return sheet


def counter(rng: np.random.Generator, wide: int, tall: int) -> tuple[Picture, float]:
    """A wall and a table; also where on the table products stand, in pixels from the top."""
    scene = paper(rng, wide, tall)
    edge = tall * float(rng.uniform(0.55, 0.75))
    panel(scene, rectangle(-4, edge, wide + 4, tall + 4), one_of(rng, WOOD))
    for _ in range(4):
        y, x = float(rng.uniform(edge, tall)), float(rng.uniform(0, wide))
        stroke(scene, points((x, y), (x + wide * 0.2, y)), 1, (120, 90, 70), closed=False)
    return scene, edge + (tall - edge) * float(rng.uniform(0.25, 0.6))


def shelf(
    rng: np.random.Generator, wide: int, tall: int, boards: int
) -> tuple[Picture, list[float]]:
    """A shelf; also the height of each board's upper edge, in pixels from the top."""
    back = one_of(rng, PAPERS)
    scene = np.full((tall, wide, 3), toned(back, 0.9), np.uint8)
    if rng.random() < 0.5:
        _PATTERNS[1](scene, toned(back, 0.82), rng)
    wood = one_of(rng, WOOD)
    thick = tall * 0.05
    edges = [tall * (place + 0.86) / boards for place in range(boards)]
    for edge in edges:
        # Below a board it is dark.
        dark = scene[int(edge + thick) : int(edge + 2.2 * thick)]
        dark[:] = (dark * 0.7).astype(np.uint8)
        panel(scene, rectangle(-4, edge, wide + 4, edge + thick), wood)
        for x in np.arange(float(rng.uniform(0.02, 0.2)), 1, float(rng.uniform(0.22, 0.4))):
            tag = rectangle(wide * x, edge + 2, wide * (x + 0.11), edge + thick - 1)
            panel(scene, tag, (252, 250, 240), 1)
            stroke(scene, tag[:2] * 0.8 + tag[2:] * 0.2, 1, (190, 40, 40), closed=False)
    return scene, edges


def box_back(rng: np.random.Generator, wide: int, tall: int) -> tuple[Picture, Points]:
    """A cardboard box's inside on paper; also its front wall, to be drawn over the products."""
    scene = paper(rng, wide, tall)
    left, right = wide * 0.06, wide * 0.94
    rim, floor = tall * float(rng.uniform(0.3, 0.5)), tall * 0.94
    inside = points((left, rim), (right, rim), (right, floor), (left, floor))
    panel(scene, inside, toned(CARDBOARD, 0.7))
    flap = wide * float(rng.uniform(0.02, 0.055))
    for edge, away in ((left, -flap), (right, flap)):
        wing = points((edge, rim), (edge + away, rim + tall * 0.1), (edge + away, rim + tall * 0.3))
        panel(scene, np.concatenate([wing, points((edge, rim + tall * 0.25))]), CARDBOARD)
    front = tall * float(rng.uniform(0.7, 0.8))
    return scene, points((left, front), (right, front), (right, floor), (left, floor))


def box_front(scene: Picture, wall: Points, rng: np.random.Generator) -> None:
    """The front wall of a cardboard box, with tape and an arrow."""
    panel(scene, wall, CARDBOARD, 3)
    (x0, y0), (x1, y1) = wall[0], wall[2]
    middle = x0 + (x1 - x0) * float(rng.uniform(0.3, 0.7))
    half = (x1 - x0) * 0.05
    fill(scene, rectangle(middle - half, y0, middle + half, y1), toned(CARDBOARD, 1.14))
    x, size = x0 + (x1 - x0) * 0.12, (y1 - y0) * 0.3
    arrow = points((x, y1 - 0.4 * size), (x, y0 + size), (x - size / 3, y0 + 1.4 * size))
    stroke(scene, arrow, 2, (90, 60, 40), closed=False)


def tray(rng: np.random.Generator, wide: int, tall: int) -> Picture:
    """A cardboard box seen from above: four walls around a floor."""
    scene = paper(rng, wide, tall)
    outer, inner = min(wide, tall) * 0.03, min(wide, tall) * 0.11
    panel(scene, rectangle(outer, outer, wide - outer, tall - outer), CARDBOARD, 3)
    panel(scene, rectangle(inner, inner, wide - inner, tall - inner), toned(CARDBOARD, 0.8))
    for x, y in ((0, 0), (wide, 0), (0, tall), (wide, tall)):
        corner = np.clip([x, y], outer, [wide - outer, tall - outer])
        deep = np.clip([x, y], inner, [wide - inner, tall - inner])
        stroke(scene, np.stack([corner, deep]), 2, closed=False)
    return scene


def arm(
    scene: Picture, rng: np.random.Generator, skin: Colour, place: Points, reach: float, side: int
) -> None:
    """An arm from the border, and the palm behind a product at `place`, `reach` pixels wide."""
    tall, wide = scene.shape[:2]
    thick = max(6, int(reach * 0.5))
    edge = points((wide * (0.5 + side * 0.62), tall * float(rng.uniform(0.85, 1.1))))[0]
    capsule(scene, edge, place, thick, skin)
    cuff = edge + (place - edge) * 0.35
    capsule(scene, edge, cuff, round(thick * 1.25), one_of(rng, SLEEVES))
    palm = ellipse(place[0], place[1], reach * 0.55, reach * 0.42)
    panel(scene, palm, skin)


def fingers(
    scene: Picture, skin: Colour, box: tuple[float, float, float, float], height: float, side: int
) -> None:
    """Four fingers around one edge of a held product and the thumb around the other.

    Args:
        scene: drawn on.
        skin: its colour.
        box: of the product, in pixels.
        height: of the hand's middle, in pixels from the top.
        side: 1 where the arm comes from the right.
    """
    x0, _, x1, y1 = box
    wide = x1 - x0
    thick = max(4, int(min(wide * 0.22, (y1 - box[1]) * 0.09)))
    near, far = (x1, x0) if side > 0 else (x0, x1)
    for place in range(4):
        y = height + (place - 1.5) * thick * 1.15
        start = np.asarray([far - side * thick * 0.5, y + thick * 0.3])
        end = np.asarray([far + side * wide * (0.2 + 0.03 * (place % 2)), y])
        capsule(scene, start, end, thick, skin)
    start = np.asarray([near + side * thick * 0.7, height + thick])
    end = np.asarray([near - side * wide * 0.3, height - thick * 1.2])
    capsule(scene, start, end, round(thick * 1.2), skin)


def _plain(sheet: Picture, colour: Colour, rng: np.random.Generator) -> None:
    """No pattern."""


def _stripes(sheet: Picture, colour: Colour, rng: np.random.Generator) -> None:
    tall, wide = sheet.shape[:2]
    step = float(rng.uniform(0.05, 0.14)) * wide
    slant = float(rng.choice([0.0, 0.0, 0.5, -0.5])) * tall
    for left in np.arange(-wide, 2 * wide, 2 * step):
        stripe = ((left, 0), (left + step, 0), (left + step + slant, tall), (left + slant, tall))
        fill(sheet, points(*stripe), colour)


def _checks(sheet: Picture, colour: Colour, rng: np.random.Generator) -> None:
    side = int(rng.integers(14, 36))
    y, x = np.indices(sheet.shape[:2]) // side
    sheet[(x + y) % 2 == 1] = colour


def _dots(sheet: Picture, colour: Colour, rng: np.random.Generator) -> None:
    step = int(rng.integers(16, 36))
    for row, y in enumerate(range(0, sheet.shape[0] + step, step)):
        for x in range(row % 2 * step // 2, sheet.shape[1] + step, step):
            cv2.circle(sheet, (x, y), step // 6, colour, cv2.FILLED, cv2.LINE_AA)


def _rays(sheet: Picture, colour: Colour, rng: np.random.Generator) -> None:
    tall, wide = sheet.shape[:2]
    middle = (wide * float(rng.uniform(0.3, 0.7)), tall * float(rng.uniform(0.3, 0.8)))
    angles = np.linspace(0, 2 * np.pi, 33)
    for start, end in zip(angles[:-1:2], angles[1::2], strict=True):
        far = [(middle[0] + 999 * np.cos(a), middle[1] + 999 * np.sin(a)) for a in (start, end)]
        fill(sheet, points(middle, *far), colour)


def _tiles(sheet: Picture, colour: Colour, rng: np.random.Generator) -> None:
    step = int(rng.integers(28, 64))
    sheet[::step] = colour
    sheet[:, ::step] = colour


_PATTERNS: tuple[Callable[[Picture, Colour, np.random.Generator], None], ...] = (
    _plain,
    _stripes,
    _checks,
    _dots,
    _rays,
    _tiles,
    _plain,
)
