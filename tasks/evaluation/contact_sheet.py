"""Pictures of queries and their hits, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from unbundle.base.atomic import atomic_file
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import open_photo

_COLUMNS = 2  # queries side by side
_SIDE = 264  # pixels of a query's photo
_THUMBNAIL = 61
_GAP = 6
HITS = 5  # per instance
_INSTANCES = 4  # rows beside a photo
_RIGHT, _WRONG, _BOX = (0, 150, 70), (200, 40, 40), (30, 110, 220)


@dataclass(frozen=True)
class Card:
    """One answered query.

    Attributes:
        photo: its path.
        boxes: the detector's `[N, 4]` in pixels of the upright photo, best first.
        hits: per instance the photos of what it found, best first, and whether each is right.
    """

    photo: Path
    boxes: Boxes
    hits: Sequence[Sequence[tuple[Path, bool]]]


def draw_sheet(path: Path, cards: Sequence[Card]) -> None:
    """Write a contact sheet: each photo with its boxes, beside it the first hits of each box.

    Right hits are framed green, wrong ones red; instances go from top to bottom.
    """
    width = _SIDE + _GAP + HITS * (_THUMBNAIL + _GAP) + _GAP
    height = max(_SIDE, _INSTANCES * (_THUMBNAIL + _GAP)) + 2 * _GAP
    rows = -(-len(cards) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * width + _GAP, max(1, rows) * height), "white")
    for number, card in enumerate(cards):
        row, column = divmod(number, _COLUMNS)
        _draw_card(sheet, card, _GAP + column * width, _GAP + row * height)
    with atomic_file(path) as temporary:
        sheet.save(temporary, quality=88)


def _draw_card(sheet: Image.Image, card: Card, left: int, top: int) -> None:
    pixels = open_photo(card.photo)
    factor = _SIDE / max(pixels.shape[:2])
    photo = _scaled(Image.fromarray(pixels), _SIDE)
    pen = ImageDraw.Draw(photo)
    for box in np.asarray(card.boxes, np.float64) * factor:
        pen.rectangle([float(side) for side in box], outline=_BOX, width=2)
    sheet.paste(photo, (left, top))
    for row, hits in enumerate(card.hits[:_INSTANCES]):
        for column, (path, right) in enumerate(hits[:HITS]):
            x = left + _SIDE + _GAP + column * (_THUMBNAIL + _GAP)
            _draw_hit(sheet, path, right, x, top + row * (_THUMBNAIL + _GAP))


def _draw_hit(sheet: Image.Image, path: Path, right: bool, left: int, top: int) -> None:
    thumbnail = _scaled(Image.fromarray(open_photo(path)), _THUMBNAIL - 6)
    frame = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL), _RIGHT if right else _WRONG)
    canvas = Image.new("RGB", (_THUMBNAIL - 6, _THUMBNAIL - 6), "white")
    canvas.paste(
        thumbnail, ((canvas.width - thumbnail.width) // 2, (canvas.height - thumbnail.height) // 2)
    )
    frame.paste(canvas, (3, 3))
    sheet.paste(frame, (left, top))


def _scaled(image: Image.Image, side: int) -> Image.Image:
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
