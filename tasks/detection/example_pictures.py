"""Pictures that show a person what the detector learns from, and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo

FOUND, TRUE = (230, 30, 60), (30, 170, 60)
"""Colours of proposals and of true boxes."""

SIDE, COLUMNS, CAPTION, GAP = 320, 5, 22, 8


@dataclass(frozen=True)
class Picture:
    """One tile of a sheet.

    Attributes:
        photo: RGB uint8 `[h, w, 3]`.
        boxes: `[N, 4]` in pixels of the photo; drawn in red.
        scores: written at the boxes; empty for none.
        truth: `[M, 4]`, drawn in green; empty for none.
        caption: a line below.
    """

    photo: Photo
    boxes: Boxes
    scores: Sequence[float] = ()
    truth: Sequence[Sequence[float]] = ()
    caption: str = ""


def draw_tile(picture: Picture) -> Image.Image:
    """The photo, scaled to `SIDE`, with its boxes and caption."""
    height, width = picture.photo.shape[:2]
    factor = SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    tile = Image.new("RGB", (SIDE, SIDE + CAPTION), "white")
    tile.paste(Image.fromarray(picture.photo).resize(size))
    pen = ImageDraw.Draw(tile)
    font = ImageFont.load_default(14)
    for box in picture.truth:
        pen.rectangle((np.asarray(box) * factor).tolist(), outline=TRUE, width=2)
    for row, box in enumerate(picture.boxes):
        corners = (np.asarray(box) * factor).tolist()
        pen.rectangle(corners, outline=FOUND, width=2)
        if row < len(picture.scores):
            pen.text((corners[0] + 4, corners[1] + 2), f"{picture.scores[row]:.2f}", FOUND, font)
    pen.text((4, SIDE + 2), picture.caption, "black", font)
    return tile


def write_pictures(folder: Path, name: str, pictures: Sequence[Picture]) -> None:
    """Write `name-01.png` … and the contact sheet `name.png` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tiles = [draw_tile(picture) for picture in pictures]
    for number, tile in enumerate(tiles, start=1):
        tile.save(folder / f"{name}-{number:02}.png")
    if not tiles:
        return
    rows = -(-len(tiles) // COLUMNS)
    across, down = SIDE + GAP, SIDE + CAPTION + GAP
    sheet = Image.new("RGB", (min(len(tiles), COLUMNS) * across, rows * down), "white")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        sheet.paste(tile, (column * across, row * down))
    sheet.save(folder / f"{name}.png")
