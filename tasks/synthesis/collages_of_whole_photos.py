"""Pictures made of whole photos: collages, and a single photo as it is."""

import cv2
import numpy as np

from tasks.synthesis.pasting import recolour
from tasks.synthesis.pseudo_bundle_backgrounds import draw_background
from tasks.synthesis.pseudo_bundle_material import MIN_VISIBLE, Box, Material, Pixels
from tasks.synthesis.random_choice import choose
from unbundle.vision.boxes import areas
from unbundle.vision.imaging import Photo

ZOOM = 1.3
"""Of photos in tiles, at most, beyond what fills the tile."""

CENTRED = 0.6
"""Share of such photos that are cropped around their product, per direction: as people crop, but a
detector shall find what others cut off as well."""

_GRIDS = ((1, 1), (2, 1), (1, 2), (2, 2), (2, 2), (3, 1), (1, 3), (3, 2), (2, 3))


def collage(
    material: Material, width: int, height: int, random: np.random.Generator
) -> tuple[Pixels, list[Box]]:
    """Photos side by side, with or without a gap; a missing last one leaves the background."""
    canvas = draw_background((), width, height, random)
    columns, rows = choose(random, _GRIDS)
    gap = int(random.integers(1, max(2, width // 24))) if random.random() < 0.6 else 0
    boxes: list[Box] = []
    for cell in range(columns * rows - int(columns * rows > 2 and random.random() < 0.3)):
        row, column = divmod(cell, columns)
        x0 = gap + column * (width - gap) // columns
        y0 = gap + row * (height - gap) // rows
        x1 = (column + 1) * (width - gap) // columns
        y1 = (row + 1) * (height - gap) // rows
        tile, box = _tile(material, x1 - x0, y1 - y0, random)
        canvas[y0:y1, x0:x1] = tile
        if box is not None:
            boxes.append((box[0] + x0, box[1] + y0, box[2] + x0, box[3] + y0))
    return canvas, boxes


def photograph(
    material: Material, width: int, height: int, random: np.random.Generator
) -> tuple[Pixels, list[Box]]:
    """A catalogue photo of one product, in its own surroundings."""
    cutout = choose(random, material.cutouts)
    tile, box = _fill(cutout.photo, cutout.box, width, height, random)
    return tile, [] if box is None else [box]


def _tile(
    material: Material, width: int, height: int, random: np.random.Generator
) -> tuple[Pixels, Box | None]:
    """A photo cropped to a tile, and its product; the whole tile where the product is unknown."""
    known, unknown = len(material.cutouts), len(material.photos)
    if random.random() < known / max(known + unknown, 1):
        cutout = choose(random, material.cutouts)
        return _fill(cutout.photo, cutout.box, width, height, random)
    photo = choose(random, material.photos)
    tile, _ = _fill(photo, (0, 0, photo.shape[1], photo.shape[0]), width, height, random)
    return tile, (0, 0, width, height)


def _fill(
    photo: Photo,
    box: tuple[int, int, int, int],
    width: int,
    height: int,
    random: np.random.Generator,
) -> tuple[Pixels, Box | None]:
    """Crop a photo so that it fills `width` x `height`; its box there, None when mostly cut off.

    A product that is mostly cut off but fills a good part of what is left is one to be found.
    """
    tall, wide = photo.shape[:2]
    factor = max(width / wide, height / tall) * random.uniform(1.0, ZOOM)
    x = _crop(width, wide * factor, (box[0] * factor, box[2] * factor), random)
    y = _crop(height, tall * factor, (box[1] * factor, box[3] * factor), random)
    matrix = np.array([[factor, 0, -x], [0, factor, -y]])
    method = cv2.INTER_LINEAR if factor > 0.6 else cv2.INTER_AREA
    warped = cv2.warpAffine(photo, matrix, (width, height), flags=method)
    tile = np.asarray(warped, np.uint8)
    moved = np.asarray(box, np.float32) * factor - (x, y, x, y)
    inside = np.clip(moved, 0, (width, height, width, height))
    left = areas(inside[None])[0]
    share = left / max(min(areas(moved[None])[0], width * height), 1e-6)
    seen: Box = (inside[0], inside[1], inside[2], inside[3])
    if random.random() < 0.5:
        tile, seen = tile[:, ::-1], (width - inside[2], inside[1], width - inside[0], inside[3])
    coloured = recolour(tile, random).astype(np.float32)
    return coloured, seen if share >= MIN_VISIBLE else None


def _crop(
    length: int, whole: float, product: tuple[float, float], random: np.random.Generator
) -> float:
    """Where a crop of `length` pixels begins; as a person crops, mostly around the product."""
    last = max(whole - length, 0.0)
    low, high = sorted((min(max(product[1] - length, 0.0), last), min(product[0], last)))
    return random.uniform(low, high) if random.random() < CENTRED else random.uniform(0, last)
