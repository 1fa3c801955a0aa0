"""A photographer's studio: soft boxes, flags and a bright table, reflected and diffuse."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.demo.rasterize_meshes import Geometry, crevices
from tasks.demo.surface_meshes import Floats, floats

Degrees = NDArray[np.float64]

ROWS, COLUMNS = 64, 128
"""Of the environment: elevation from -90 to 90 degrees, azimuth from -180 to 180."""


@dataclass(frozen=True)
class Lamp:
    """A soft box: where it hangs and how far it reaches to each side (degrees), how bright."""

    azimuth: float
    half_width: float
    elevation: float
    half_height: float
    brightness: float


LAMPS = (
    Lamp(-58, 17, 12, 48, 2.6),  # key light, left of the camera
    Lamp(66, 7, 8, 55, 1.5),  # strip light on the right
    Lamp(0, 360, 90, 32, 1.3),  # overhead
)
TABLE, BACKDROP = 0.45, 0.6
"""Brightness that the white table and the backdrop add."""


@dataclass(frozen=True)
class Shading:
    """Light on every pixel, `[height, width]` float32, white = 1.

    Attributes:
        diffuse: what a white matte surface would send.
        sharp: what a mirror would show.
        soft: what a satin surface would show.
        facing: cosine between the surface's normal and the direction to the camera.
    """

    diffuse: Floats
    sharp: Floats
    soft: Floats
    facing: Floats


@lru_cache(maxsize=8)
def studio(turn: float) -> tuple[Floats, Floats]:
    """The room as a mirror sees it, sharp and blurred, each `[ROWS, COLUMNS]`.

    Args:
        turn: azimuth by which the lamps are moved, degrees.
    """
    elevation, azimuth = np.meshgrid(
        np.linspace(-90, 90, ROWS), np.linspace(-180, 180, COLUMNS, endpoint=False), indexing="ij"
    )
    azimuth = (azimuth - turn + 180) % 360 - 180
    room = 0.42 + 0.28 * elevation / 90
    for lamp in LAMPS:
        beside = _box(azimuth, lamp.azimuth, lamp.half_width)
        room += lamp.brightness * beside * _box(elevation, lamp.elevation, lamp.half_height)
    room += TABLE * _step(-elevation, 25, 12)
    room += BACKDROP * _step(np.abs(azimuth), 150, 15)
    # Black flags beside the camera draw a dark line along the edges of what shines.
    room *= 1 - 0.8 * _box(np.abs(azimuth), 112, 20) * _step(55 - np.abs(elevation), 0, 12)
    middle = slice(COLUMNS, 2 * COLUMNS)
    wide = np.tile(floats(room), (1, 3))
    sharp, soft = (floats(cv2.GaussianBlur(wide, (0, 0), size)[:, middle]) for size in (0.8, 6))
    return sharp, soft


def _step(value: Degrees, edge: float, softness: float) -> Degrees:
    t = np.clip((value - edge) / softness + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float64)


def _box(value: Degrees, centre: float, half: float) -> Degrees:
    return _step(half - np.abs(value - centre), 0, 8)


def light(geometry: Geometry, turn: float) -> Shading:
    """Light a view; `turn` moves the lamps around it (degrees)."""
    sharp, soft = studio(turn)
    x, y, z = np.moveaxis(geometry.normal, -1, 0)
    mirror = np.stack([2 * z * x, 2 * z * y, 2 * z * z - 1])
    azimuth = np.arctan2(mirror[0], mirror[2])
    elevation = np.arcsin(np.clip(mirror[1], -1, 1))
    column = (azimuth / (2 * np.pi) + 0.5) * COLUMNS
    row = (elevation / np.pi + 0.5) * (ROWS - 1)
    occlusion = crevices(geometry)
    side = 0.62 * math.sin(math.radians(turn - 42))
    key = np.clip(side * x + 0.45 * y + 0.64 * z, 0, 1)
    diffuse = (0.46 + 0.6 * key + 0.1 * y) * (0.74 + 0.26 * np.sqrt(np.clip(z, 0, 1)))
    return Shading(
        diffuse=diffuse * occlusion,
        sharp=_look_up(sharp, column, row) * occlusion,
        soft=_look_up(soft, column, row) * occlusion,
        facing=z,
    )


def _look_up(room: Floats, column: Floats, row: Floats) -> Floats:
    mode = cv2.BORDER_WRAP
    found = cv2.remap(room, column, row, cv2.INTER_LINEAR, borderMode=mode)
    return floats(found)
