"""What products are photographed on: stone, wood, cloth and coloured paper, drawn once each."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.demo.surface_meshes import Floats, floats

Picture = NDArray[np.uint8]

SIDE = 384
"""Of a drawn ground in pixels."""

FLAT = ("marble", "wood", "linen", "terrazzo", "silk")
"""Grounds that are seen from above."""

TINTS = floats(
    [
        [244, 221, 214], [214, 228, 221], [222, 222, 240], [245, 232, 205], [206, 222, 236],
        [232, 205, 210], [196, 205, 190], [230, 214, 196], [120, 132, 150], [92, 74, 78],
    ]
)  # fmt: skip
"""Colours of paper, RGB."""


def noise(rng: np.random.Generator, cells: int, octaves: int = 4, stretch: float = 1.0) -> Floats:
    """Smooth noise `[SIDE, SIDE]` in about -1..1; `stretch` draws it out along x."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(octaves):
        rows = max(2, cells * 2**octave)
        columns = max(2, int(rows / stretch))
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return floats(total / 1.6)


def _tinted(base: Floats, factor: Floats) -> Picture:
    return np.asarray(np.clip(base * factor[..., None], 0, 255), np.uint8)


def marble(rng: np.random.Generator) -> Picture:
    """Pale or dark stone with warped veins that fade in and out."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    angle = float(rng.uniform(0.2, 1.3))
    along = (x * math.cos(angle) + y * math.sin(angle)) * float(rng.uniform(1.2, 2))
    warp = noise(rng, 2, 5)
    broad = 1 - np.abs(np.sin(np.pi * (along + 0.32 * warp)))
    fine = 1 - np.abs(np.sin(np.pi * (2.3 * along + 0.5 * noise(rng, 3, 5))))
    fade = np.clip(noise(rng, 3, 2) + 0.4, 0, 1)
    vein = fade * (0.16 * broad**7 + 0.14 * broad**40 + 0.1 * fine**24) + 0.02 * warp
    if rng.random() < 0.75:
        return _tinted(floats([247, 245, 242]), 1 - vein)
    return _tinted(floats([74, 80, 84]), 1 + 4 * vein)


def wood(rng: np.random.Generator) -> Picture:
    """Planks with grain."""
    grain = noise(rng, 24, 3, stretch=10) * 0.5 + noise(rng, 6, 2, stretch=6) * 0.5
    rows = np.arange(SIDE)
    plank = rows // int(rng.integers(60, 110))
    level = rng.uniform(0.9, 1.06, plank.max() + 1).astype(np.float32)[plank]
    gap = np.diff(plank, prepend=plank[0]) > 0
    level[gap] *= 0.55
    woods = floats([[205, 170, 130], [226, 203, 172], [150, 108, 78], [236, 226, 212]])
    tone = woods[int(rng.integers(len(woods)))]
    return _tinted(tone, (1 + 0.11 * grain) * level[:, None])


def linen(rng: np.random.Generator) -> Picture:
    """Woven cloth with soft creases."""
    threads = rng.standard_normal((SIDE, 1), dtype=np.float32) * 0.022
    weft = rng.standard_normal((1, SIDE), dtype=np.float32) * 0.022
    crease = noise(rng, 3, 3) * 0.05
    tone = TINTS[int(rng.integers(8))] * 0.5 + floats([236, 230, 220]) * 0.5
    return _tinted(tone, 1 + threads + weft + crease)


def terrazzo(rng: np.random.Generator) -> Picture:
    """Cast stone with coloured chips."""
    picture = np.full((SIDE, SIDE, 3), TINTS[int(rng.integers(8))] * 0.3 + 170, np.float32)
    for _ in range(150):
        centre = rng.uniform(0, SIDE, 2)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 6))
        radius = rng.uniform(3, 13) * rng.uniform(0.6, 1, 6)
        points = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
        colour = (TINTS[int(rng.integers(len(TINTS)))] * rng.uniform(0.75, 1)).tolist()
        cv2.fillPoly(picture, [points.astype(np.int32)], colour, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def silk(rng: np.random.Generator) -> Picture:
    """Draped satin."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    along = x * float(rng.uniform(0.4, 1)) + y * float(rng.uniform(0.4, 1))
    fold = np.sin(9 * along + 2.6 * noise(rng, 2, 2))
    light = 0.86 + 0.14 * fold + 0.1 * np.clip(fold, 0.6, 1)
    return _tinted(TINTS[int(rng.integers(8))], light)


def paper(rng: np.random.Generator) -> Picture:
    """A coloured sheet bent from the wall to the table."""
    colour = TINTS[int(rng.integers(len(TINTS)))]
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    spot = np.exp(-((x - float(rng.uniform(0.25, 0.75))) ** 2 + (y - 0.35) ** 2) / 0.35)
    bend = 1 / (1 + np.exp(-(y - float(rng.uniform(0.62, 0.78))) * 40))
    return _tinted(colour, 0.84 + 0.18 * spot + 0.06 * bend)


def counter(rng: np.random.Generator) -> Picture:
    """A table of stone or wood in front of a plain wall."""
    wall = paper(rng)
    top = marble(rng) if rng.random() < 0.5 else wood(rng)
    horizon = int(SIDE * rng.uniform(0.58, 0.7))
    table = cv2.resize(top, (SIDE, SIDE - horizon), interpolation=cv2.INTER_AREA)
    wall[horizon:] = table
    edge = slice(horizon - 2, horizon + 3)
    wall[edge] = cv2.GaussianBlur(wall[horizon - 4 : horizon + 5], (1, 5), 0)[2:7]
    return wall


def bokeh(rng: np.random.Generator) -> Picture:
    """A room far out of focus."""
    picture = np.full((SIDE, SIDE, 3), TINTS[int(rng.integers(len(TINTS)))], np.float32)
    for _ in range(22):
        centre = [int(value) for value in rng.uniform(0, SIDE, 2)]
        colour = (TINTS[int(rng.integers(len(TINTS)))] * rng.uniform(0.8, 1.12)).tolist()
        cv2.circle(picture, centre, int(rng.uniform(12, 60)), colour, -1, cv2.LINE_AA)
    return np.asarray(np.clip(cv2.GaussianBlur(picture, (0, 0), 14), 0, 255), np.uint8)


GROUNDS: dict[str, Callable[[np.random.Generator], Picture]] = {
    "marble": marble,
    "wood": wood,
    "linen": linen,
    "terrazzo": terrazzo,
    "silk": silk,
    "paper": paper,
    "counter": counter,
    "bokeh": bokeh,
}
"""By name; each is drawn several times."""


def studio(rng: np.random.Generator, width: int, height: int) -> Picture:
    """A nearly white backdrop, uint8 `[height, width, 3]`."""
    white = rng.uniform(247, 256) + rng.normal(0, 0.7, 3)
    fall = np.linspace(0, float(rng.uniform(0, 5)), height, dtype=np.float32)[:, None, None]
    backdrop = np.broadcast_to(floats(white) - fall, (height, width, 3))
    return np.asarray(np.clip(backdrop, 0, 255), np.uint8)


def crop(
    ground: Picture, rng: np.random.Generator, width: int, height: int, *, upright: bool
) -> Picture:
    """A random part of a ground at a photo's size; an upright one keeps its horizon."""
    if rng.random() < 0.5:
        ground = ground[:, ::-1]
    if not upright and rng.random() < 0.5:
        ground = ground.transpose(1, 0, 2)
    share = float(rng.uniform(0.6, 1))
    wide = int(SIDE * share * min(1, width / height))
    tall = int(SIDE * (1 if upright else share) * min(1, height / width))
    left, top = int(rng.integers(SIDE - wide + 1)), int(rng.integers(SIDE - tall + 1))
    if upright:
        top = (SIDE - tall) // 2
    part = np.ascontiguousarray(ground[top : top + tall, left : left + wide])
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
