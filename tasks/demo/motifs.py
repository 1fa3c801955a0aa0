"""Ornaments of the brands: each a handful of strokes in a unit circle."""

from collections.abc import Callable

import numpy as np

Stroke = list[tuple[float, float]]
"""A line through points; x right, y down, in units of the ornament's radius."""


def _arc(x: float, y: float, radius: float, start: float, end: float) -> Stroke:
    angles = np.deg2rad(np.linspace(start, end, 25))
    return [(x + radius * float(np.cos(a)), y + radius * float(np.sin(a))) for a in angles]


def _petal(angle: float, length: float, width: float) -> Stroke:
    t = np.linspace(0, 2 * np.pi, 25)
    along, across = length * (1 - np.cos(t)) / 2, width * np.sin(t)
    cos, sin = np.cos(angle), np.sin(angle)
    return [
        (float(a * cos - b * sin), float(a * sin + b * cos))
        for a, b in zip(along, across, strict=True)
    ]


def _petals() -> list[Stroke]:
    return [_petal(angle, 1.0, 0.26) for angle in np.arange(6) * np.pi / 3 - np.pi / 2]


def _ring() -> list[Stroke]:
    return [_arc(0, 0, 0.9, -60, 250), _arc(0, 0, 0.78, -40, 240)]


def _star() -> list[Stroke]:
    points = []
    for corner in range(17):
        radius = 1.0 if corner % 4 == 0 else 0.42 if corner % 2 == 0 else 0.18
        angle = corner * np.pi / 8 - np.pi / 2
        points.append((radius * float(np.cos(angle)), radius * float(np.sin(angle))))
    return [points]


def _waves() -> list[Stroke]:
    x = np.linspace(-1, 1, 41)
    rows = (-0.5, 0.0, 0.5)
    return [[(float(a), float(y + 0.2 * np.sin(a * 2 * np.pi + y))) for a in x] for y in rows]


def _leaf() -> list[Stroke]:
    veins: list[Stroke] = [[(0, 1), (0, -1)]]
    for y in (-0.5, -0.1, 0.3, 0.7):
        veins.extend([[(0, y), (0.5, y - 0.35)], [(0, y), (-0.5, y - 0.35)]])
    right = [(0.62 * float(np.sin(t)), float(-np.cos(t))) for t in np.linspace(0, np.pi, 25)]
    return [*veins, right, [(-x, y) for x, y in right]]


def _dots() -> list[Stroke]:
    centres = [(x, y) for x in (-0.7, 0.0, 0.7) for y in (-0.7, 0.0, 0.7)]
    return [_arc(x, y, 0.16, 0, 360) for x, y in centres]


def _cross() -> list[Stroke]:
    return [
        [(-0.25, -0.9), (0.25, -0.9), (0.25, -0.25), (0.9, -0.25), (0.9, 0.25), (0.25, 0.25),
         (0.25, 0.9), (-0.25, 0.9), (-0.25, 0.25), (-0.9, 0.25), (-0.9, -0.25), (-0.25, -0.25),
         (-0.25, -0.9)]
    ]  # fmt: skip


def _frame() -> list[Stroke]:
    def square(r: float) -> Stroke:
        return [(-r, 0), (0, -r), (r, 0), (0, r), (-r, 0)]

    return [square(1.0), square(0.7)]


def _bamboo() -> list[Stroke]:
    stems: list[Stroke] = []
    for x, low in ((-0.35, 0.9), (0.1, 1.0), (0.5, 0.8)):
        stems.extend([[(x, low), (x, -low)], [(x - 0.12, 0.2), (x + 0.12, 0.2)]])
        stems.append([(x, -0.3), (x + 0.4, -0.75)])
    return stems


def _rays() -> list[Stroke]:
    angles = np.arange(16) * np.pi / 8
    rays: list[Stroke] = [
        [(0.45 * float(np.cos(a)), 0.45 * float(np.sin(a))), (float(np.cos(a)), float(np.sin(a)))]
        for a in angles
    ]
    return [*rays, _arc(0, 0, 0.3, 0, 360)]


def _mountain() -> list[Stroke]:
    return [
        [(-1, 0.7), (-0.3, -0.6), (0.1, 0.1), (0.4, -0.25), (1, 0.7), (-1, 0.7)],
        [(-0.5, -0.22), (-0.3, -0.05), (-0.1, -0.25)],
    ]


def _arch() -> list[Stroke]:
    return [[(-r, 0.8), *_arc(0, 0, r, 180, 360), (r, 0.8)] for r in (0.95, 0.65, 0.35)]


def _comb() -> list[Stroke]:
    def cell(x: float, y: float) -> Stroke:
        return [(x + 0.42 * a, y + 0.42 * b) for a, b in _arc_corners(6)]

    return [cell(0, -0.5), cell(-0.42, 0.25), cell(0.42, 0.25)]


def _arc_corners(count: int) -> Stroke:
    angles = np.arange(count + 1) * 2 * np.pi / count + np.pi / 2
    return [(float(np.cos(a)), float(np.sin(a))) for a in angles]


def _sprig() -> list[Stroke]:
    buds = [
        [(x + 0.3 * a, y + 0.3 * b) for a, b in _petal(angle, 1.0, 0.4)]
        for y in (-0.7, -0.4, -0.1)
        for x, angle in ((0.08, -0.6), (-0.08, np.pi + 0.6))
    ]
    return [[(0, 1), (0, -0.9)], [(0, 0.7), (0.45, 0.3)], [(0, 0.8), (-0.45, 0.4)], *buds]


def _spiral() -> list[Stroke]:
    t = np.linspace(0, 5 * np.pi, 60)
    radius = t / t[-1]
    x, y = radius * np.cos(t), radius * np.sin(t)
    return [[(float(a), float(b)) for a, b in zip(x, y, strict=True)]]


MOTIFS: dict[str, Callable[[], list[Stroke]]] = {
    "petals": _petals,
    "ring": _ring,
    "star": _star,
    "waves": _waves,
    "leaf": _leaf,
    "dots": _dots,
    "cross": _cross,
    "frame": _frame,
    "bamboo": _bamboo,
    "rays": _rays,
    "mountain": _mountain,
    "arch": _arch,
    "comb": _comb,
    "sprig": _sprig,
    "spiral": _spiral,
}
"""By the names that `brands.yaml` uses."""
