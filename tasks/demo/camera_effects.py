"""What lens, light and file format do to a scene: colour cast, fall-off, blur, noise, JPEG."""

import cv2
import numpy as np

from tasks.demo.photo_backgrounds import Picture
from tasks.demo.surface_meshes import Floats, floats


def expose(scene: Picture, rng: np.random.Generator, *, clean: bool) -> Picture:
    """Photograph a composed scene as a shopkeeper would.

    Args:
        scene: uint8 RGB `[height, width, 3]`.
        rng: of the photo.
        clean: even, bright light without a cast, as in a studio.
    """
    height, width = scene.shape[:2]
    levels = np.arange(256, dtype=np.float32) / 255
    gain = rng.uniform(1.02, 1.08) if clean else rng.uniform(0.92, 1.1)
    cast = rng.normal(1, 0.006 if clean else 0.02, 3) * gain
    curves = levels[:, None] ** float(rng.uniform(0.88, 1.18)) * floats(cast)
    table = np.asarray(np.clip(curves * 255, 0, 255), np.uint8)[None]
    photo = floats(cv2.LUT(scene, table))
    if not clean and rng.random() < 0.6:
        photo *= _on_all_channels(_falloff(rng, width, height))
    if rng.random() < 0.25:
        photo = floats(cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(0.4, 1))))
    elif rng.random() < 0.1:
        shake = (int(rng.integers(2, 5)), 1) if rng.random() < 0.5 else (1, 3)
        photo = floats(cv2.blur(photo, shake))
    grain = rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(0.3, 3))
    photo += _on_all_channels(grain)
    return np.asarray(np.clip(photo, 0, 255), np.uint8)


def _falloff(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Light that weakens towards one side, `[height, width]` around 1."""
    across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(rng.uniform(-0.13, 0.13))
    down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(rng.uniform(-0.13, 0.1))
    return floats(1 + across[None, :] + down[:, None])


def _on_all_channels(plane: Floats) -> Floats:
    return floats(cv2.merge([plane, plane, plane]))


def jpeg(photo: Picture, rng: np.random.Generator) -> bytes:
    """The photo as a JPEG file of a shop's usual quality."""
    quality = int(rng.integers(72, 94))
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), settings)
    return data.tobytes()
