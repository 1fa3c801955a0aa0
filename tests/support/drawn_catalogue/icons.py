"""Small pictures of varieties and emblems, as polygons."""

from collections.abc import Callable

import numpy as np

from .pen_strokes import Points, points, rectangle

_ANGLE = np.linspace(0, 2 * np.pi, 48, endpoint=False)
_CIRCLE: Points = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1)


def icon(name: str, x: float, y: float, size: float) -> list[Points]:
    """Polygons of a picture `size` high around x, y: the first is the main one."""
    return [shape * (size / 2) + np.asarray([x, y]) for shape in _ICONS[name]()]


def _at(shape: Points, x: float, y: float) -> Points:
    moved: Points = shape + np.asarray([x, y])
    return moved


def _sun() -> list[Points]:
    return [_CIRCLE * (0.78 + 0.22 * np.sign(np.sin(12 * _ANGLE)))[:, None]]


def _star() -> list[Points]:
    return [_CIRCLE * (0.7 + 0.3 * np.cos(5 * _ANGLE))[:, None]]


def _flower() -> list[Points]:
    return [_CIRCLE * (0.75 + 0.25 * np.cos(6 * _ANGLE))[:, None], _CIRCLE * 0.28]


def _heart() -> list[Points]:
    x, y = np.sin(_ANGLE) ** 3, -np.cos(_ANGLE) + 0.35 * np.cos(2 * _ANGLE)
    return [np.stack([x, y + 0.12 * np.cos(3 * _ANGLE)], axis=1) * 0.9]


def _peak() -> list[Points]:
    return [points((-1, 0.8), (-0.35, -0.6), (0.05, 0.1), (0.4, -0.9), (1, 0.8))]


def _leaf() -> list[Points]:
    along, width = np.cos(_ANGLE), 0.45 * np.sin(_ANGLE) * np.abs(np.sin(_ANGLE))
    return [np.stack([along * 0.75 + width, -along * 0.75 + width], axis=1)]


def _drop() -> list[Points]:
    return [np.stack([np.sin(_ANGLE) * np.sin(_ANGLE / 2) ** 1.5, -np.cos(_ANGLE)], axis=1)]


def _apple() -> list[Points]:
    stem = points((-0.08, -1.0), (0.14, -1.0), (0.08, -0.55), (-0.05, -0.55))
    return [_at(_CIRCLE * 0.8, 0, 0.15), stem]


def _berries() -> list[Points]:
    return [_at(_CIRCLE * 0.46, *spot) for spot in ((-0.45, 0.35), (0.45, 0.35), (0, -0.4))]


def _ring() -> list[Points]:
    return [_CIRCLE, _CIRCLE * 0.72, _CIRCLE * 0.22]


def _bean() -> list[Points]:
    slit = points((-0.1, -0.8), (0.14, 0), (-0.1, 0.8), (0, 0))
    return [_CIRCLE * np.asarray([0.6, 0.95]), slit]


def _comb() -> list[Points]:
    spots = ((-0.45, 0), (0.42, -0.48), (0.42, 0.48))
    return [_at(_CIRCLE[::8] * 0.5, *spot) for spot in spots]


def _moon() -> list[Points]:
    bite = _at(_CIRCLE[6:-6] * 0.8, 0.35, 0)
    return [np.concatenate([_CIRCLE[6:-6], bite[::-1]])]


def _waves() -> list[Points]:
    along = np.linspace(-1, 1, 24)
    upper = np.stack([along, 0.22 * np.sin(along * 6)], axis=1)
    band = np.concatenate([upper, _at(upper[::-1], 0, 0.32)])
    return [_at(band, 0, y) for y in (-0.7, -0.1, 0.5)]


def _dots() -> list[Points]:
    grid = (-0.6, 0.0, 0.6)
    return [_at(_CIRCLE * 0.24, column, row) for row in grid for column in grid]


def _square() -> list[Points]:
    low, high = (-0.8, -0.06), (0.06, 0.8)
    return [rectangle(x0, y0, x1, y1) for y0, y1 in (low, high) for x0, x1 in (low, high)]


_ICONS: dict[str, Callable[[], list[Points]]] = {
    "sun": _sun,
    "star": _star,
    "flower": _flower,
    "heart": _heart,
    "peak": _peak,
    "leaf": _leaf,
    "drop": _drop,
    "apple": _apple,
    "berries": _berries,
    "ring": _ring,
    "bean": _bean,
    "comb": _comb,
    "moon": _moon,
    "waves": _waves,
    "dots": _dots,
    "square": _square,
}
