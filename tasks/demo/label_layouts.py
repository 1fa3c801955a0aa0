"""The labels of products: seven layouts, filled with brand, line, shade and size."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.demo.package_shapes import panel
from tasks.demo.products import DemoProduct
from tasks.demo.surface_finishes import linear
from tasks.demo.text_and_ornament_sheets import Rect, Sheet

MARGINS = {"tube": 0.16, "compact": 0.09}
"""Share of the sheet's width that stays free of text on each side, by shape …"""

PATTERNED = ("minimal", "vertical", "band", "dip")
"""Layouts with room for the tint's ornament all over the body."""

PATTERN = 0.32
"""Contrast of that ornament: share of the tint in its colour."""

TINTED = 0.4
"""Share of the tint in the colour of an opaque body."""

ROUND_MARGIN, FLAT_MARGIN = 0.2, 0.1
"""… or by cross-section: a round body shows its sheet's edges only from the side."""


@dataclass(frozen=True)
class Label:
    """A printed sheet.

    Attributes:
        ink: uint8 `[height, width, 4]`, straight RGBA.
        foil: uint8 `[height, width]`, 255 where the print is metal.
        left: label coordinate of the first column, millimetres.
        top: label coordinate of the first row, millimetres (upward).
        scale: pixels per millimetre.
    """

    ink: NDArray[np.uint8]
    foil: NDArray[np.uint8]
    left: float
    top: float
    scale: float


def print_label(item: DemoProduct, scale: float) -> Label:
    """Draw a product's label at `scale` pixels per millimetre."""
    space = panel(item.form)
    width = round(2 * space.half_width * scale)
    height = round((space.top - space.bottom) * scale)
    sheet = Sheet(width, height)
    usual = ROUND_MARGIN if item.form.squareness < 3 else FLAT_MARGIN
    margin = MARGINS.get(item.form.shape, usual) * width
    safe = Rect(margin, 0.03 * height, width - margin, 0.97 * height)
    layout = _compact if item.form.shape == "compact" else _LAYOUTS[item.look]
    if item.form.shape in ("lipstick", "gloss"):
        layout = _slim
    if item.look in PATTERNED and item.tint.emblem != "none":
        _scatter(sheet, item)
    layout(sheet, safe, item)
    return Label(np.asarray(sheet.ink), np.asarray(sheet.foil), -space.half_width, space.top, scale)


def body_colour(item: DemoProduct) -> str:
    """Of an opaque body: the brand's colour with a breath of the tint's."""
    return _mixed(item.brand.body, item.tint.colour, TINTED)


def _scatter(sheet: Sheet, item: DemoProduct) -> None:
    """The tint's ornament in rows all over the body, paler than the print."""
    width, height = sheet.ink.size
    target = "#ffffff" if item.category.glass else item.tint.colour
    colour = _mixed(_ground(item), target, PATTERN)
    pitch = width / 5
    for row in range(int(height / pitch) + 1):
        for column in range(-1, 6):
            x, y = (column + 0.5 * (row % 2)) * pitch, (row + 0.5) * pitch
            area = Rect(x, y - 0.36 * pitch, x + 0.72 * pitch, y + 0.36 * pitch)
            sheet.motif(item.tint.emblem, area, colour)


def _mixed(first: str, second: str, share: float) -> str:
    """A colour between two, `share` of the way to the second."""
    values = [
        round(int(first[at : at + 2], 16) * (1 - share) + int(second[at : at + 2], 16) * share)
        for at in (1, 3, 5)
    ]
    return "#" + "".join(f"{value:02x}" for value in values)


def _emblem(item: DemoProduct) -> str:
    return item.brand.motif if item.tint.emblem == "none" else item.tint.emblem


def _brightness(code: str) -> float:
    red, green, blue = linear(code)
    return float(np.sqrt(0.3 * red + 0.59 * green + 0.11 * blue))


def _over(code: str, item: DemoProduct) -> str:
    """A colour of text that reads on a ground: the brand's own if it stands out."""
    ground = _brightness(code)
    if abs(_brightness(item.brand.ink) - ground) > 0.35:
        return item.brand.ink
    return "#fffaf2" if ground < 0.62 else "#2a2522"


def _ground(item: DemoProduct) -> str:
    if item.category.glass:
        return _mixed(item.tint.colour, "#ffffff", 0.25)  # light shines through
    return "#5c3a1e" if item.brand.finish == "amber" else body_colour(item)


def _ink(item: DemoProduct) -> str:
    return _over(_ground(item), item)


def _foiled(item: DemoProduct) -> bool:
    # Foil on coloured glass does not read.
    return item.brand.trim in ("gold", "silver", "bronze") and not item.category.glass


def _shade(sheet: Sheet, area: Rect, item: DemoProduct, colour: str) -> None:
    """The swatch of the shade and its name."""
    radius = 0.42 * area.height
    x, y = area.left + area.width * 0.14, area.centre[1]
    sheet.disc((x, y), radius * 1.15, colour)
    sheet.disc((x, y), radius, item.tint.colour)
    words = Rect(x + 1.6 * radius, area.top, area.right, area.bottom)
    sheet.text(item.tint.name, words, colour, item.brand.text, align=0.1)


def _classic(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    brand, ink, foil = item.brand, _ink(item), _foiled(item)
    sheet.motif(_emblem(item), safe.part(0.02, 0.2), ink, foil=foil)
    sheet.text(brand.name, safe.part(0.22, 0.38), ink, brand.display, tracking=0.12, foil=foil)
    sheet.rule(safe.part(0.39, 0.42), item.line.accent, foil=foil)
    sheet.text(item.line.name, safe.part(0.43, 0.57), ink, brand.text)
    sheet.text(item.category.name.upper(), safe.part(0.57, 0.67), ink, "sans", tracking=0.15)
    _shade(sheet, safe.part(0.72, 0.83), item, ink)
    sheet.text(item.size, safe.part(0.87, 0.97), ink, "sans")


def _paper(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    brand, ground = item.brand, "#f4ead6"
    ink = _over(ground, item)
    card = safe.part(0.06, 0.98)
    sheet.fill(card, ground)
    sheet.fill(card.part(0.72, 1), item.tint.colour)
    sheet.outline(card, item.line.accent, 4)
    inner = Rect(card.left + 10, card.top, card.right - 10, card.bottom)
    sheet.text(brand.name, inner.part(0.04, 0.22), ink, brand.display, tracking=0.06)
    sheet.motif(_emblem(item), inner.part(0.23, 0.4), item.line.accent)
    sheet.text(item.line.name, inner.part(0.42, 0.56), ink, brand.text)
    sheet.text(item.category.name, inner.part(0.56, 0.68), ink, "sans")
    over = _over(item.tint.colour, item)
    sheet.text(item.tint.name, inner.part(0.74, 0.87), over, brand.text)
    sheet.text(item.size, inner.part(0.87, 0.97), over, "sans")


def _dip(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    brand, ink = item.brand, _ink(item)
    width, height = sheet.ink.size
    colour = item.line.accent if item.category.glass else item.tint.colour
    x = np.linspace(0, width, 60)
    edge = 0.54 * height + 0.03 * height * np.sin(x / width * 2 * np.pi)
    border = [(float(a), float(b)) for a, b in zip(x, edge, strict=True)]
    sheet.polygon([*border, (width, height), (0, height)], colour)
    sheet.text(brand.name, safe.part(0.08, 0.28), ink, brand.display, tracking=0.05)
    sheet.text(item.line.name, safe.part(0.3, 0.46), ink, brand.text)
    over = _over(colour, item)
    sheet.text(item.category.name, safe.part(0.6, 0.71), over, brand.text)
    _shade(sheet, safe.part(0.74, 0.86), item, over)
    sheet.text(item.size, safe.part(0.88, 0.98), over, "sans_bold")


def _minimal(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    brand, ink = item.brand, _ink(item)
    sheet.text(brand.name, safe.part(0.06, 0.22), ink, brand.display, tracking=0.04, align=0)
    sheet.fill(Rect(safe.left, safe.part(0.25, 1).top, safe.left + 0.3 * safe.width,
                    safe.part(0.29, 1).top), item.line.accent)  # fmt: skip
    sheet.text(item.line.name, safe.part(0.34, 0.48), ink, brand.text, align=0)
    sheet.text(item.category.name, safe.part(0.49, 0.6), ink, brand.text, align=0)
    sheet.fill(safe.part(0.68, 0.82), item.tint.colour)
    over = _over(item.tint.colour, item)
    sheet.text(item.tint.name, safe.part(0.69, 0.81), over, brand.text)
    sheet.text(item.size, safe.part(0.87, 0.97), ink, "sans", align=0)


def _vertical(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    brand, ink = item.brand, _ink(item)
    long, wide = round(safe.height), round(safe.width)
    side = Sheet(long, wide)
    area = Rect(0, 0, long, wide)
    name = Rect(0, 0.02 * wide, 0.86 * long, 0.52 * wide)
    side.text(brand.name, name, ink, brand.display, tracking=0.08, align=0, foil=_foiled(item))
    side.motif(brand.motif, Rect(0.87 * long, 0.05 * wide, long, 0.45 * wide), item.line.accent)
    rest = Rect(0, 0, 0.62 * long, wide)
    words = f"{item.line.name} {item.category.name}"
    side.text(words, rest.part(0.56, 0.76), ink, brand.text, align=0)
    side.text(item.size, rest.part(0.8, 0.97), ink, "sans", align=0)
    patch = Rect(0.64 * long, 0.58 * wide, area.right, 0.97 * wide)
    side.fill(patch, item.tint.colour)
    side.text(item.tint.name, patch, _over(item.tint.colour, item), brand.text)
    sheet.turned(side, (round(safe.left), round(safe.top)))


def _band(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    brand, ink = item.brand, _ink(item)
    width, height = sheet.ink.size
    colour = item.line.accent if item.category.glass else item.tint.colour
    over = _over(colour, item)
    sheet.text(brand.name, safe.part(0.06, 0.3), ink, brand.display, tracking=0.03)
    sheet.fill(Rect(0, 0.36 * height, width, 0.66 * height), colour)
    sheet.text(item.line.name, safe.part(0.375, 0.52), over, brand.text)
    sheet.text(item.category.name.upper(), safe.part(0.53, 0.64), over, "sans", tracking=0.08)
    _shade(sheet, safe.part(0.71, 0.83), item, ink)
    sheet.text(item.size, safe.part(0.87, 0.97), ink, "sans_bold")


def _badge(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    brand, ink, foil = item.brand, _ink(item), _foiled(item)
    emblem = safe.part(0.2, 0.56)
    radius = min(emblem.width, emblem.height) / 2
    sheet.disc(emblem.centre, radius, item.line.accent, foil=foil)
    sheet.disc(emblem.centre, radius * 0.92, item.tint.colour)
    x, y = emblem.centre
    core = Rect(x - radius * 0.6, y - radius * 0.6, x + radius * 0.6, y + radius * 0.6)
    sheet.motif(_emblem(item), core, _over(item.tint.colour, item))
    sheet.text(brand.name, safe.part(0.02, 0.18), ink, brand.display, tracking=0.08, foil=foil)
    sheet.text(item.line.name, safe.part(0.59, 0.72), ink, brand.text)
    sheet.text(item.category.name, safe.part(0.72, 0.82), ink, brand.text)
    sheet.text(f"{item.tint.name} · {item.size}", safe.part(0.86, 0.97), ink, "sans")


def _compact(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    """The pan's ornament, pressed into the powder, and the names around it."""
    brand, pressed = item.brand, _mixed(item.tint.colour, "#000000", 0.28)
    inner = Rect(
        safe.left + 0.16 * safe.width, safe.top, safe.right - 0.16 * safe.width, safe.bottom
    )
    sheet.text(brand.name, inner.part(0.16, 0.32), pressed, brand.display, tracking=0.08)
    sheet.motif(brand.motif, inner.part(0.36, 0.62), pressed)
    sheet.text(item.line.name, inner.part(0.65, 0.76), pressed, brand.text)
    sheet.text(item.tint.name, inner.part(0.77, 0.87), pressed, "sans")


def _slim(sheet: Sheet, safe: Rect, item: DemoProduct) -> None:
    """Narrow bodies: everything reads upward."""
    brand, ink, foil = item.brand, _ink(item), _foiled(item)
    long, wide = round(safe.height), round(safe.width)
    side = Sheet(long, wide)
    name = Rect(0.04 * long, 0.1 * wide, 0.96 * long, 0.55 * wide)
    side.text(brand.name, name, ink, brand.display, tracking=0.1, foil=foil)
    line = Rect(0.06 * long, 0.58 * wide, 0.94 * long, 0.74 * wide)
    side.text(item.line.name, line, ink, brand.text)
    shade = Rect(0.06 * long, 0.76 * wide, 0.94 * long, 0.92 * wide)
    side.text(item.tint.name, shade, ink, "sans")
    width, height = sheet.ink.size
    sheet.fill(Rect(0, 0.965 * height, width, height), item.tint.colour)
    sheet.fill(Rect(0, 0, width, 0.03 * height), item.line.accent)
    sheet.turned(side, (round(safe.left), round(safe.top)))


_LAYOUTS: dict[str, Callable[[Sheet, Rect, DemoProduct], None]] = {
    "classic": _classic,
    "paper": _paper,
    "dip": _dip,
    "minimal": _minimal,
    "vertical": _vertical,
    "band": _band,
    "badge": _badge,
}
