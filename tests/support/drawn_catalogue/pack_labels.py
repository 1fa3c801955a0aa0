"""What is printed on a pack: brand, kind, variety with its picture, and size."""

import numpy as np

from .icons import icon
from .pen_strokes import Picture, fill, mixed, points, rectangle, stroke, write
from .products import Product


def print_panel(product: Product, wide: int, tall: int, *, long: bool) -> Picture:
    """The front of a pack, uint8 RGB `[tall, wide, 3]`; a long one has its picture on the right."""
    brand, variety = product.brand, product.variety
    sheet = np.full((tall, wide, 3), brand.base, np.uint8)
    _LAYOUTS[brand.layout](sheet, product)
    name_y, kind_y, size_y = (0.2, 0.42, 0.86) if not long else (0.2, 0.46, 0.84)
    write(sheet, brand.name, wide * 0.5, tall * name_y, wide * 0.62, tall * 0.13, brand.ink)
    for shape in icon(brand.emblem, wide * 0.5, tall * 0.075, min(wide, tall) * 0.12):
        fill(sheet, shape, brand.ink)
    side = min(wide * 0.6, tall * 0.34)
    x, y = (wide * 0.78, tall * 0.62) if long else (wide * 0.5, tall * 0.63)
    _picture(sheet, product, x, y, side)
    left = wide * 0.36 if long else wide * 0.5
    width = wide * (0.44 if long else 0.6)
    write(sheet, product.kind.name, left, tall * kind_y, width, tall * 0.1, brand.ink)
    ground = rectangle(
        left - width * 0.46, tall * (size_y - 0.06), left + width * 0.46, tall * 0.98
    )
    fill(sheet, ground, variety.colour)
    dark = (24, 20, 26) if sum(variety.colour) > 380 else (252, 250, 244)
    write(sheet, variety.name, left, tall * size_y, width * 0.86, tall * 0.08, dark)
    write(sheet, product.amount, left, tall * (size_y + 0.08), width * 0.5, tall * 0.05, dark)
    return sheet


def _picture(sheet: Picture, product: Product, x: float, y: float, side: float) -> None:
    """The variety's icon, inked."""
    for place, shape in enumerate(icon(product.variety.icon, x, y, side)):
        nested = product.variety.icon in ("ring", "flower", "bean") and place
        colour = product.brand.second if nested else product.variety.colour
        fill(sheet, shape, colour)
        stroke(sheet, shape, max(1, round(side / 40)))


def _circle(sheet: Picture, product: Product) -> None:
    tall, wide = sheet.shape[:2]
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    disc = np.stack([np.cos(angle), np.sin(angle)], axis=1) * min(wide, tall) * 0.42
    fill(sheet, disc + np.asarray([wide * 0.5, tall * 0.62]), product.brand.second)


def _diagonal(sheet: Picture, product: Product) -> None:
    tall, wide = sheet.shape[:2]
    for place, colour in enumerate((product.brand.second, product.variety.colour)):
        top = tall * (0.5 + 0.16 * place)
        fill(sheet, points((0, top), (wide, top - 0.2 * tall), (wide, tall), (0, tall)), colour)


def _checks(sheet: Picture, product: Product) -> None:
    tall, wide = sheet.shape[:2]
    side = max(2, min(wide, tall) // 8)
    y, x = np.mgrid[:tall, :wide] // side
    odd = ((x + y) % 2 == 1) & ((y < 2) | (y > tall // side - 3))
    sheet[odd] = mixed(product.brand.second, product.variety.colour, 0.5)


def _bands(sheet: Picture, product: Product) -> None:
    tall, wide = sheet.shape[:2]
    for top, bottom, colour in (
        (0.28, 0.34, product.brand.second),
        (0.36, 0.48, mixed(product.brand.base, product.variety.colour, 0.35)),
        (0.48, 0.78, product.brand.second),
    ):
        fill(sheet, rectangle(0, tall * top, wide, tall * bottom), colour)


_LAYOUTS = {"circle": _circle, "diagonal": _diagonal, "checks": _checks, "bands": _bands}
