"""An answer as a picture: the photo with numbered boxes, beside it each box's products."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from unbundle.base.errors import UserError
from unbundle.query.search import Answer, Box, Hit, Instance
from unbundle.vision.imaging import Photo, open_photo

COLOURS = (
    "#cc4420",
    "#1f7a8c",
    "#8e44ad",
    "#26834b",
    "#c9184a",
    "#3a5bd9",
    "#9c5d00",
    "#5c6b73",
)
"""Of the boxes, by turns: dark enough for white numbers, apart for colour-blind eyes."""

_PAGE = "#f5f4f1"
_CARD = "#ffffff"
_INK = "#22252a"
_FAINT = "#7a7f87"
_TRACK = "#eceae6"

_PHOTO_SIDE = 760
_MARGIN = 32
_CARD_WIDTH = 720
_CARD_HEIGHT = 136
_CARD_GAP = 16
_RADIUS = 14
_BEST = 104  # pixels, side of the best hit's picture
_OTHER = 60  # of the next hits' pictures
_OTHERS = 3
_SHARP = 4  # shapes are drawn this much larger and scaled down: Pillow does not smooth edges

# Pillow's own font has Latin letters only.
_CJK_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "msyh.ttc",
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_answer(photo: Photo | None, answer: Answer, images: Path | None = None) -> Image.Image:
    """Draw an answer.

    Args:
        photo: the query's upright pixels; None for a title alone.
        answer: its products.
        images: the catalogue's folder; without it, or where a file is missing, a hit has no
            picture.
    """
    left = draw_photo(photo, answer.instances) if photo is not None else None
    cards = [_card(number, instance, images) for number, instance in enumerate(answer.instances, 1)]
    column = len(cards) * (_CARD_HEIGHT + _CARD_GAP) - _CARD_GAP
    height = max(column, left.height if left else 0) + 2 * _MARGIN
    width = _CARD_WIDTH + 2 * _MARGIN + (left.width + _MARGIN if left else 0)
    page = Image.new("RGB", (width, height), _PAGE)
    if left:
        _paste_rounded(page, left, (_MARGIN, (height - left.height) // 2))
    top = (height - column) // 2
    for card in cards:
        _paste_rounded(page, card, (width - _MARGIN - _CARD_WIDTH, top))
        top += _CARD_HEIGHT + _CARD_GAP
    return page


def draw_hits(hits: Sequence[Hit], images: Path | None, side: int) -> Image.Image:
    """The pictures of hits side by side, each `side` pixels wide and high."""
    strip = Image.new("RGB", (len(hits) * side, side), _CARD)
    for place, hit in enumerate(hits):
        strip.paste(_thumbnail(hit, images, side), (place * side, 0))
    return strip


def draw_photo(photo: Photo, instances: Sequence[Instance]) -> Image.Image:
    """The photo with the numbered boxes of its products."""
    image = Image.fromarray(photo)
    factor = _PHOTO_SIDE / max(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    image = image.resize(size, Image.Resampling.LANCZOS)
    framed = [
        (number, _scaled(instance.box, factor, size))
        for number, instance in enumerate(instances, 1)
        if instance.box is not None
    ]
    # The best box on top of the others, the numbers on top of all boxes.
    for number, box in reversed(framed):
        _draw_box(image, number, box)
    for number, box in reversed(framed):
        _draw_badge(image, number, (round(box[0]) + 21, round(box[1]) + 21))
    return image


def _scaled(box: Box, factor: float, size: tuple[int, int]) -> Box:
    limits = (*size, *size)
    x0, y0, x1, y1 = (min(value * factor, limit) for value, limit in zip(box, limits, strict=True))
    return x0, y0, x1, y1


def _draw_box(image: Image.Image, number: int, box: Box) -> None:
    x0, y0 = round(box[0]), round(box[1])
    x1, y1 = max(round(box[2]), x0 + 2 * _RADIUS), max(round(box[3]), y0 + 2 * _RADIUS)
    for width, inset, colour in ((7, 0, "#ffffff"), (4, 1.5, _colour(number))):
        frame = Image.new("L", ((x1 - x0) * _SHARP, (y1 - y0) * _SHARP))
        edge = inset * _SHARP
        ImageDraw.Draw(frame).rounded_rectangle(
            (edge, edge, frame.width - 1 - edge, frame.height - 1 - edge),
            radius=_RADIUS * _SHARP,
            outline=255,
            width=width * _SHARP,
        )
        mask = frame.reduce(_SHARP)
        image.paste(Image.new("RGB", mask.size, colour), (x0, y0), mask)


def _draw_badge(image: Image.Image, number: int, centre: tuple[int, int]) -> None:
    for side, colour in ((38, "#ffffff"), (34, _colour(number))):
        disc = Image.new("RGB", (side, side), colour)
        middle = (side / 2, side / 2)
        ImageDraw.Draw(disc).text(middle, str(number), "#ffffff", _font(20), "mm")
        _paste_rounded(image, disc, (centre[0] - side // 2, centre[1] - side // 2), side // 2)


def _card(number: int, instance: Instance, images: Path | None) -> Image.Image:
    card = Image.new("RGB", (_CARD_WIDTH, _CARD_HEIGHT), _CARD)
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, 0, 7, _CARD_HEIGHT), fill=_colour(number))
    _draw_badge(card, number, (42, _CARD_HEIGHT // 2))
    if not instance.hits:
        _write(card, (78, _CARD_HEIGHT // 2 - 12), "no product passes the filters", 20, _FAINT, 560)
        return card
    best, *others = instance.hits[: 1 + _OTHERS]
    _paste_rounded(card, _thumbnail(best, images, _BEST), (78, (_CARD_HEIGHT - _BEST) // 2))
    left = 78 + _BEST + 20
    room = _CARD_WIDTH - left - 24 - _OTHERS * (_OTHER + 12)
    first, rest = _two_lines(best.product, 20, room)
    # What tells variants of a line apart, shade or size, often comes last.
    _write(card, (left, 14 if rest else 24), first, 20, _INK, room, best.id)
    _write(card, (left, 39), rest, 20, _INK, room)
    below = best.caption if instance.in_catalogue else "not in the catalogue; this comes nearest"
    _write(card, (left, 71), below, 14, _FAINT, room)
    _score_bar(card, (left, 106), best.score, _colour(number), room - 66)
    for place, hit in enumerate(others):
        spot = (_CARD_WIDTH - 24 - (_OTHERS - place) * (_OTHER + 12) + 12, 28)
        _paste_rounded(card, _thumbnail(hit, images, _OTHER), spot)
        middle = (spot[0] + _OTHER / 2, spot[1] + _OTHER + 14)
        pen.text(middle, f"{hit.score:.2f}", _FAINT, _font(14), "mm")
    return card


def _score_bar(
    card: Image.Image, place: tuple[int, int], score: float, colour: str, length: int
) -> None:
    for share, fill in ((1.0, _TRACK), (min(max(score, 0.0), 1.0), colour)):
        if round(length * share):
            bar = Image.new("RGB", (round(length * share), 8), fill)
            _paste_rounded(card, bar, place, 4)
    where = (place[0] + length + 12, place[1] + 4)
    ImageDraw.Draw(card).text(where, f"{score:.2f}", _INK, _font(18), "lm")


def _thumbnail(hit: Hit, images: Path | None, side: int) -> Image.Image:
    try:
        if images is None:
            raise UserError("without the catalogue's folder there are no pictures")
        upright = Image.fromarray(open_photo(images / hit.image))
        return ImageOps.pad(upright, (side, side), Image.Resampling.LANCZOS, "#ffffff")
    except UserError:
        blank = Image.new("RGB", (side, side), _TRACK)
        middle = (side / 2, side / 2)
        ImageDraw.Draw(blank).text(middle, "?", _FAINT, _font(side / 3), "mm")
        return blank


def _paste_rounded(
    page: Image.Image, image: Image.Image, place: tuple[int, int], radius: int = _RADIUS
) -> None:
    mask = Image.new("L", (image.width * _SHARP, image.height * _SHARP))
    box = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * _SHARP, fill=255)
    page.paste(image, place, mask.reduce(_SHARP))


def _write(
    card: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: str,
    room: int,
    instead: str = "",
) -> None:
    font, drawable = _font_for(text, size)
    if not drawable.strip():
        font, drawable = _font_for(instead, size)
    pen = ImageDraw.Draw(card)
    line = drawable = drawable[:room]  # no letter is narrower than a pixel
    while line and pen.textlength(line, font) > room:
        drawable = drawable[:-1]
        line = drawable.rstrip() + "…"
    pen.text(place, line, colour, font)


def _two_lines(text: str, size: int, room: int) -> tuple[str, str]:
    """As many words as the first line has room for, and the others."""
    words = text.split()
    font, _ = _font_for(text, size)
    fitting = len(words)
    while fitting > 1 and font.getlength(" ".join(words[:fitting])) > room:
        fitting -= 1
    return " ".join(words[:fitting]), " ".join(words[fitting:])


def _font_for(text: str, size: int) -> tuple[Font, str]:
    """A font, and what it can draw of the text: all of it where a system font has the glyphs."""
    latin = _font(size)
    if _drawable(text, latin) == text:
        return latin, text
    font = _cjk_font(size) or latin
    return font, _drawable(text, font)


def _drawable(text: str, font: Font) -> str:
    missing = bytes(font.getmask("\U0010fffe"))
    return "".join(char for char in text if char == " " or bytes(font.getmask(char)) != missing)


@cache
def _font(size: float) -> Font:
    return ImageFont.load_default(size)


@cache
def _cjk_font(size: int) -> Font | None:
    for name in _CJK_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


def _colour(number: int) -> str:
    return COLOURS[(number - 1) % len(COLOURS)]
