"""Surfaces of packaging as dense grids of points: lofts along an axis and tubes along a path.

Units are millimetres; x points right, y up, z towards the viewer. A surface carries its label
coordinates, so that printing does not stretch: arc length from the front and height ("wrap"), or x
and z seen from above ("top").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Mapping = Literal["wrap", "top"]

PERIMETER_SAMPLES = 720
"""Of a cross-section, before it is sampled again at equal distances."""


def floats(values: ArrayLike) -> Floats:
    """The values as float32, for type checkers too."""
    return np.asarray(values, np.float32)


@dataclass(frozen=True)
class Surface:
    """The points of one material.

    Attributes:
        slot: which finish covers it ("body", "cap", …).
        points: float32 `[points, 3]`, millimetres.
        normals: float32 `[points, 3]`, unit length, outward.
        texture: float32 `[points, 2]`, label coordinates in millimetres.
    """

    slot: str
    points: Floats
    normals: Floats
    texture: Floats


def rounded(corners: Sequence[tuple[float, float, float]]) -> Floats:
    """The outline through `(radius, y, fillet)` corners, bottom to top, with rounded edges.

    Args:
        corners: radius and height in millimetres, and the fillet's reach along both edges.

    Returns:
        float32 `[points, 2]`: radius and height.
    """
    points = np.asarray([corner[:2] for corner in corners], np.float64)
    outline = [points[0]]
    for before, corner, after, fillet in zip(
        points, points[1:], points[2:], [corner[2] for corner in corners[1:-1]], strict=False
    ):
        start = corner + _towards(corner, before, fillet)
        end = corner + _towards(corner, after, fillet)
        t = np.linspace(0, 1, 9)[:, None]
        outline.extend((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
    outline.append(points[-1])
    return np.asarray(outline, np.float32)


def _towards(corner: NDArray[np.float64], other: NDArray[np.float64], reach: float) -> Floats:
    step = other - corner
    length = float(np.hypot(*step)) or 1.0
    return np.asarray(step * min(reach / length, 0.5), np.float32)


def loft(
    slot: str,
    outline: Floats,
    spacing: float,
    *,
    depth: float | Floats = 1.0,
    squareness: float = 2.0,
    mapping: Mapping = "wrap",
) -> Surface:
    """A surface around the y axis whose cross-sections are superellipses.

    Args:
        slot: which finish covers it.
        outline: float32 `[points, 2]`, half width and height, bottom to top.
        spacing: distance between neighbouring points in millimetres.
        depth: half depth as a share of the half width, one for all or one per outline point.
        squareness: exponent of the superellipse: 2 is round, 8 nearly square.
        mapping: label coordinates by arc length and height, or seen from above.
    """
    depths = np.broadcast_to(np.asarray(depth, np.float32), (len(outline),))
    levels = _resample(np.column_stack([outline, depths]), spacing)
    widest = int(levels[:, 0].argmax())
    sections: dict[float, Floats] = {}
    perimeter = _section(float(levels[widest, 2]), squareness, 8)[0, 3] * levels[widest, 0]
    columns = max(16, int(perimeter / spacing))
    for share in np.unique(levels[:, 2].round(3)):
        sections[float(share)] = _section(float(share), squareness, columns)
    rows = np.stack([sections[float(share)] for share in levels[:, 2].round(3)])
    half = levels[:, None, 0]
    heights = np.broadcast_to(levels[:, None, 1], rows.shape[:2])
    points = np.stack([rows[..., 0] * half, heights, rows[..., 1] * half], axis=-1)
    if mapping == "wrap":
        texture = np.stack([rows[..., 2] * half, heights], axis=-1)
    else:
        texture = points[..., [0, 2]] * np.asarray([1, -1], np.float32)
    return _surface(slot, points, texture, widest)


def tube(slot: str, path: Floats, radii: Floats, spacing: float) -> Surface:
    """A round tube along a path in the x-y plane.

    Args:
        slot: which finish covers it.
        path: float32 `[points, 2]`, x and y in millimetres.
        radii: float32 `[points]`, millimetres.
        spacing: distance between neighbouring points in millimetres.
    """
    stations = _resample(np.column_stack([path, radii]), spacing)
    tangent = np.gradient(stations[:, :2], axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    columns = max(12, int(2 * np.pi * float(stations[:, 2].max()) / spacing))
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False, dtype=np.float32)
    across = stations[:, 2, None] * np.cos(angle)
    points = np.stack(
        [
            stations[:, None, 0] - tangent[:, None, 1] * across,
            stations[:, None, 1] + tangent[:, None, 0] * across,
            stations[:, 2, None] * np.sin(angle),
        ],
        axis=-1,
    )
    return _surface(slot, points, points[..., :2], len(stations) // 2)


def sheared(surface: Surface, start: float, end: float, slope: float) -> Surface:
    """The surface with its part above `start` tilted: y grows by `slope` times x at `end`.

    Normals follow by the inverse transpose of the tilt (its vertical stretch is left out).
    """
    points, normals = surface.points.copy(), surface.normals.copy()
    share = np.clip((points[:, 1] - start) / (end - start), 0, 1)
    points[:, 1] += slope * points[:, 0] * share
    normals[:, 0] -= slope * share * normals[:, 1]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return Surface(surface.slot, points, normals, surface.texture)


def _resample(stations: Floats, spacing: float) -> Floats:
    """Stations at equal distances along the line of their first two columns."""
    steps = np.hypot(*np.diff(stations[:, :2], axis=0).T)
    distance = np.concatenate([[0], np.cumsum(steps)])
    targets = np.linspace(0, distance[-1], max(3, int(distance[-1] / spacing) + 1))
    columns = [np.interp(targets, distance, column) for column in stations.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _section(share: float, squareness: float, columns: int) -> Floats:
    """A unit cross-section at equal arc lengths: `[columns, 4]` x, z, arc length, perimeter."""
    angle = np.linspace(-np.pi, np.pi, PERIMETER_SAMPLES + 1)
    across, along = np.abs(np.sin(angle)), np.abs(np.cos(angle)) / max(share, 1e-3)
    radius = (across**squareness + along**squareness) ** (-1 / squareness)
    x, z = radius * np.sin(angle), radius * np.cos(angle)
    distance = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    targets = np.linspace(0, distance[-1], columns, endpoint=False)
    section = [np.interp(targets, distance, x), np.interp(targets, distance, z)]
    section += [targets - distance[-1] / 2, np.full(columns, distance[-1])]
    return np.stack(section, axis=1).astype(np.float32)


def _surface(slot: str, points: Floats, texture: Floats, reference: int) -> Surface:
    """A surface with normals from finite differences, made to point outward at one row."""
    down = np.gradient(points, axis=0)
    ring = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
    normals = np.cross(ring, down)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    row = points[reference]
    if float(np.einsum("kc,kc->", normals[reference], row - row.mean(axis=0))) < 0:
        normals = -normals
    kept = _even(points)
    return Surface(
        slot,
        np.asarray(points[kept], np.float32),
        np.asarray(normals[kept], np.float32),
        np.asarray(texture[kept], np.float32),
    )


def _even(points: Floats) -> NDArray[np.bool_]:
    """Which points `[rows, columns]` to keep so that narrow rows are no denser than wide ones."""
    columns = points.shape[1]
    girth = np.linalg.norm(np.diff(points[:, : columns // 2], axis=1), axis=2).sum(axis=1)
    stride = np.clip(girth.max() / np.maximum(girth, 1e-6), 1, columns // 8).astype(int)
    return np.asarray(np.arange(columns)[None, :] % stride[:, None] == 0)
