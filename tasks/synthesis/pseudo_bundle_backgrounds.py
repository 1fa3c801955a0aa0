"""Backgrounds of pseudo-bundles: plain, gradients, grain, patterns, the catalogue's own rooms."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthesis.random_choice import choose
from unbundle.vision.imaging import Photo


def draw_background(
    photos: Sequence[Photo], width: int, height: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """A background `[height, width, 3]`, float32 RGB in 0..255, without a product in it."""
    painters = [_white, _plain, _gradient, _gradient, _grain, _table, _pattern]
    if photos and random.random() < 0.3:
        return _blurred(choose(random, photos), width, height, random)
    return choose(random, painters)(width, height, random)


def _white(width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    return np.full((height, width, 3), random.choice([255, 255, 250, 245, 238]), np.float32)


def _plain(width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    colour = random.uniform(0, 255, 3)
    return np.full((height, width, 3), colour, np.float32)


def _gradient(width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    angle = random.choice([0, np.pi / 2, random.uniform(0, 2 * np.pi)])
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    share = np.clip(x + y + 0.5, 0, 1)[..., None]
    start, end = random.uniform(0, 255, (2, 3)).astype(np.float32)
    return np.asarray(start * (1 - share) + end * share, np.float32)


def _grain(width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise of a random fineness: marble, paper, cloth; stretched it is wood."""
    cells = random.integers(2, 40, 2)
    coarse = random.normal(0, 1, (cells[0], cells[1], 1)).astype(np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    spread = random.uniform(4, 30) * random.uniform(0.6, 1, 3)
    return np.asarray(_plain(width, height, random) + noise * spread, np.float32)


def _pattern(width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Two colours in stripes, checks, dots or rays: wallpaper, tiles, cloth and paper."""
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(random.uniform(0, width))
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(random.uniform(0, height))
    turn = np.float32(random.choice([0, 0, np.pi / 2, random.uniform(0, np.pi)]))
    pitch = np.float32(2 * np.pi / (max(width, height) * random.uniform(0.04, 0.4)))
    along = np.sin((x * np.cos(turn) + y * np.sin(turn)) * pitch)
    match int(random.integers(4)):
        case 0:
            wave = along
        case 1:
            wave = along * np.sin((y * np.cos(turn) - x * np.sin(turn)) * pitch)
        case 2:
            wave = along + np.sin((y * np.cos(turn) - x * np.sin(turn)) * pitch) - np.float32(1)
        case _:
            wave = np.sin(np.arctan2(y, x) * np.float32(random.integers(4, 20)))
    # Steep enough that most pixels are one colour or the other.
    share = np.clip(wave * np.float32(random.uniform(2, 20)) + np.float32(0.5), 0, 1)[..., None]
    first = random.uniform(0, 255, 3).astype(np.float32)
    near = first * np.float32(random.uniform(0.7, 1.3))
    second = near if random.random() < 0.7 else random.uniform(0, 255, 3).astype(np.float32)
    return np.asarray(first * (1 - share) + second * share, np.float32)


def _table(width: int, height: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A wall above a table, or any two surfaces that meet in a line."""
    painters = (_plain, _gradient, _grain, _pattern)
    scene = choose(random, painters)(width, height, random)
    lower = choose(random, painters)(width, height, random)
    edge = int(height * random.uniform(0.3, 0.85))
    scene[edge:] = lower[edge:]
    return scene


def _blurred(
    photo: Photo, width: int, height: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """A catalogue photo too blurred to show its product."""
    cells = (int(random.integers(4, 10)), int(random.integers(4, 10)))
    coarse = cv2.resize(photo, cells, interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.float32)
