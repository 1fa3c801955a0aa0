"""Packs in ink and flat colour: cartons, cans, pouches, jars, cups, bars and bottles.

A pack is drawn from a little above, turned by `yaw`: cartons show a flank and a lid, round packs
turn their print. Shadows are hard-edged and dotted as in cheap print.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .pack_labels import print_panel
from .pen_strokes import (
    INK,
    Picture,
    Points,
    ellipse,
    fill,
    mixed,
    points,
    rectangle,
    stroke,
    toned,
)
from .products import Colour, Product

LONGER = 220
"""Pixels of a drawn pack's longer side."""

MARGIN = 24
"""Pixels around it while it is drawn."""

GROWTH = 1.16
"""Of each side, from a kind's small size to its large one."""

PAPER: Colour = (232, 226, 214)
METAL: Colour = (196, 202, 210)

SHADE, DOTTED, SHINE = 0.72, 0.86, 0.42
"""Light in the shadow and between its dots; white in the highlight."""


@dataclass
class Pack:
    """A pack while it is drawn: colours, coverage, and the outline's corner and size in pixels."""

    colour: Picture
    alpha: Picture
    left: float
    top: float
    wide: float
    tall: float

    def fill(self, outline: Points, colour: Colour) -> None:
        """A flat part of the pack."""
        fill(self.colour, outline, colour)
        fill(self.alpha, outline, 255)
        stroke(self.colour, outline, 2)

    def at(self, *places: tuple[float, float]) -> Points:
        """Places in shares of the outline, as pixels."""
        return points(*places) * (self.wide, self.tall) + (self.left, self.top)

    def profile(self, *rows: tuple[float, float]) -> Points:
        """A symmetric outline from (y, half width) in shares."""
        right = [(0.5 + half, y) for y, half in rows]
        left = [(0.5 - half, y) for y, half in reversed(rows)]
        return self.at(*right, *left)


@dataclass(frozen=True)
class Sprite:
    """A drawn pack: RGB and coverage, both uint8, tightly cropped, and its centimetres upright."""

    colour: Picture
    alpha: Picture
    height: float


def draw_pack(product: Product, yaw: float, light: int, rng: np.random.Generator) -> Sprite:
    """Draw a product's pack.

    Args:
        product: what is drawn.
        yaw: turn about the vertical, -1 to 1.
        light: -1 from the left, 1 from the right.
        rng: of the pen's wobble.
    """
    wide, tall, deep = (side * GROWTH**product.grown for side in product.kind.size)
    # A round pack is as wide from every side.
    seen = wide if product.kind.pack in _ROUND else wide * (1 - 0.25 * abs(yaw))
    flank = deep * 0.75 * abs(yaw) if product.kind.pack in _SQUARE else 0.0
    lid = (deep if product.kind.pack in _SQUARE else wide) * 0.2
    scale = LONGER / max(seen + flank, tall + lid)
    size = (round((tall + lid) * scale) + 2 * MARGIN, round((seen + flank) * scale) + 2 * MARGIN)
    pack = Pack(
        np.zeros((*size, 3), np.uint8),
        np.zeros(size, np.uint8),
        MARGIN + (flank * scale if yaw < 0 else 0),
        MARGIN + lid * scale,
        seen * scale,
        tall * scale,
    )
    _PACKS[product.kind.pack](pack, product, yaw, flank * scale * np.sign(yaw), lid * scale)
    _light(pack, light, product.kind.pack)
    _outline(pack)
    return _cropped(pack, rng, (tall + lid) / ((tall + lid) * scale))


def _carton(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    x0, y0 = pack.left, pack.top
    x1, y1 = x0 + pack.wide, y0 + pack.tall
    near, far = (x1, x1 + flank) if flank > 0 else (x0, x0 + flank)
    rise = lid * 0.8
    side = points((near, y0), (far, y0 - rise), (far, y1 - rise), (near, y1))
    pack.fill(side, toned(mixed(product.brand.base, product.variety.colour, 0.5), 0.8))
    top = points((x0, y0), (x1, y0), (x1 + flank, y0 - rise), (x0 + flank, y0 - rise))
    pack.fill(top, toned(product.brand.base, 1.12))
    _flat(pack, product, rectangle(x0, y0, x1, y1))


def _gable(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    x0, x1 = pack.left, pack.left + pack.wide
    y0, y1 = pack.top + pack.tall * 0.12, pack.top + pack.tall
    ridge, fin = pack.top - lid * 0.4, pack.top - lid
    near, far = (x1, x1 + flank) if flank > 0 else (x0, x0 + flank)
    side = points((near, y0), (far, y0 - lid * 0.7), (far, y1 - lid * 0.7), (near, y1))
    pack.fill(side, toned(product.brand.base, 0.78))
    pack.fill(points((near, y0), (far, y0 - lid * 0.7), (near + flank / 2, ridge)), PAPER)
    shift = flank / 2
    roof = points((x0, y0), (x1, y0), (x1 + shift, ridge), (x0 + shift, ridge))
    pack.fill(roof, toned(product.variety.colour, 1.1))
    pack.fill(rectangle(x0 + shift, fin, x1 + shift, ridge), PAPER)
    middle = (x0 + x1 + shift) / 2
    pack.fill(ellipse(middle, (y0 + ridge) / 2, pack.wide * 0.17, lid * 0.5), product.brand.ink)
    _flat(pack, product, rectangle(x0, y0, x1, y1))


def _can(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    bulge = lid * 0.5
    body = _barrel(pack, 0.0, 1.0, 0.5, bulge)
    pack.fill(body, METAL)
    _wrapped(pack, product, yaw, 0.05, 0.95, 0.5, bulge)
    x = pack.left + pack.wide / 2
    pack.fill(ellipse(x, pack.top, pack.wide / 2, bulge), METAL)
    stroke(pack.colour, ellipse(x, pack.top, pack.wide * 0.42, bulge * 0.75), 2)
    ring = ellipse(x + pack.wide * 0.1, pack.top, pack.wide * 0.12, bulge * 0.3)
    stroke(pack.colour, ring, 3, toned(METAL, 0.6))


def _jar(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    bulge = lid * 0.35
    glass = pack.profile((0.16, 0.4), (0.27, 0.5), (0.92, 0.5), (1.0, 0.44))
    pack.fill(glass, mixed(product.variety.colour, (255, 255, 255), 0.12))
    _wrapped(pack, product, yaw, 0.34, 0.88, 0.5, bulge)
    pack.fill(_barrel(pack, -0.02, 0.17, 0.44, bulge), product.brand.second)
    x, y = pack.left + pack.wide / 2, pack.top - 0.02 * pack.tall
    pack.fill(ellipse(x, y, pack.wide * 0.44, bulge), toned(product.brand.second, 1.1))
    for share in np.linspace(0.1, 0.9, 9):
        line = pack.at((0.06 + 0.88 * share, 0.05), (0.06 + 0.88 * share, 0.16))
        stroke(pack.colour, line, 1, closed=False)


def _cup(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    bulge = lid * 0.45
    cup = pack.profile((0.0, 0.5), (0.5, 0.46), (0.97, 0.38), (1.0, 0.33))
    pack.fill(cup, product.brand.second)
    _wrapped(pack, product, yaw, 0.1, 0.95, 0.46, bulge * 0.6, 0.36)
    x = pack.left + pack.wide / 2
    pack.fill(ellipse(x, pack.top, pack.wide * 0.53, bulge), product.variety.colour)
    stroke(pack.colour, ellipse(x, pack.top, pack.wide * 0.46, bulge * 0.8), 2, PAPER)
    tab = pack.at((0.9, 0.0), (1.06, 0.05), (1.0, 0.14), (0.92, 0.1))
    pack.fill(tab, product.variety.colour)


def _bar(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    teeth = np.linspace(0, 1, 13)
    edge = [(0.02 * (place % 2), float(y)) for place, y in enumerate(teeth)]
    other = [(1 - x, y) for x, y in reversed(edge)]
    pack.fill(pack.at(*edge, *other), METAL)
    x0, x1 = pack.left + 0.07 * pack.wide, pack.left + 0.93 * pack.wide
    _flat(pack, product, rectangle(x0, pack.top, x1, pack.top + pack.tall))


def _pouch(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    left = [(0.02, 0.06), (0.07, 0.2), (0.02, 0.55), (0.0, 0.94), (0.04, 1.0)]
    right = [(1 - x, y) for x, y in reversed(left)]
    teeth = [(float(x), 0.012 * (place % 2)) for place, x in enumerate(np.linspace(0.98, 0.02, 21))]
    outline = pack.at(*left, *right, *teeth)
    pack.fill(outline, product.brand.base)
    x0, x1 = pack.left + 0.04 * pack.wide, pack.left + 0.96 * pack.wide
    inner = rectangle(x0, pack.top + 0.1 * pack.tall, x1, pack.top + 0.97 * pack.tall)
    _flat(pack, product, inner, within=outline)
    stroke(pack.colour, pack.at((0.03, 0.08), (0.97, 0.08)), 2, closed=False)
    for x, y in ((0.1, 0.13), (0.88, 0.14), (0.12, 0.9), (0.86, 0.88)):
        crease = pack.at((x, y), (x + 0.04, y + 0.07))
        stroke(pack.colour, crease, 2, toned(product.brand.base, 0.6), closed=False)


def _bottle(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    bulge = lid * 0.3
    neck = ((0.1, 0.2), (0.2, 0.2), (0.27, 0.26), (0.36, 0.46))
    body = pack.profile(*neck, (0.42, 0.5), (0.95, 0.5), (1.0, 0.45))
    pack.fill(body, mixed(product.variety.colour, (255, 255, 255), 0.25))
    _wrapped(pack, product, yaw, 0.44, 0.93, 0.5, bulge)
    pack.fill(_barrel(pack, 0.0, 0.12, 0.23, bulge * 0.4), product.brand.ink)
    for share in (0.42, 0.5, 0.58):
        stroke(pack.colour, pack.at((share, 0.02), (share, 0.11)), 1, PAPER, closed=False)


def _trigger(pack: Pack, product: Product, yaw: float, flank: float, lid: float) -> None:
    flip = -1 if yaw < 0 else 1

    def turned(*places: tuple[float, float]) -> Points:
        return pack.at(*((0.5 + flip * (x - 0.5), y) for x, y in places))

    pack.fill(turned((0.36, 0.2), (0.62, 0.2), (0.62, 0.34), (0.36, 0.34)), PAPER)
    lower = ((0.36, 0.32), (0.62, 0.32), (0.7, 0.42), (0.95, 0.5), (0.98, 0.96), (0.92, 1.0))
    body = turned(*lower, (0.1, 1.0), (0.04, 0.96), (0.06, 0.6), (0.3, 0.42))
    pack.fill(body, mixed(product.variety.colour, (255, 255, 255), 0.15))
    head = ((0.12, 0.02), (0.7, 0.0), (0.88, 0.08), (0.86, 0.18), (0.34, 0.22), (0.3, 0.12))
    pack.fill(turned(*head, (0.12, 0.12)), product.brand.second)
    pack.fill(turned((0.2, 0.13), (0.31, 0.13), (0.27, 0.3), (0.2, 0.33)), product.brand.ink)
    inner = pack.at((0.1, 0.5), (0.92, 0.5), (0.92, 0.95), (0.1, 0.95))
    _flat(pack, product, inner, within=body)


def _barrel(pack: Pack, top: float, bottom: float, half: float, bulge: float) -> Points:
    """A cylinder's outline: straight sides, a straight top, a bottom that bulges."""
    angle = np.linspace(0, np.pi, 24)
    x = pack.left + pack.wide * (0.5 + half * np.cos(angle))
    y = pack.top + pack.tall * bottom - bulge + bulge * np.sin(angle)
    ends = pack.at((0.5 - half, top), (0.5 + half, top))
    return np.concatenate([np.stack([x, y], axis=1), ends])


def _flat(pack: Pack, product: Product, front: Points, within: Points | None = None) -> None:
    """Print on a flat front."""
    x0, y0 = np.round(front.min(axis=0)).astype(int)
    x1, y1 = np.round(front.max(axis=0)).astype(int)
    wide, tall = int(x1 - x0), int(y1 - y0)
    printed = print_panel(product, wide, tall, long=wide > tall)
    mask = np.zeros_like(pack.alpha)
    fill(mask, front if within is None else within, 255)
    inside = mask[y0:y1, x0:x1] > 127
    pack.colour[y0:y1, x0:x1][inside] = printed[inside]
    if within is None:
        fill(pack.alpha, front, 255)
        stroke(pack.colour, front, 2)


def _wrapped(
    pack: Pack,
    product: Product,
    yaw: float,
    top: float,
    bottom: float,
    half: float,
    bulge: float,
    foot: float | None = None,
) -> None:
    """Print around a barrel; `foot` is the half width at the bottom of one that tapers."""
    tall = round(pack.tall * (bottom - top))
    wide = round(2 * half * pack.wide)
    printed = print_panel(product, round(wide * 1.25), tall, long=False)
    rows, columns = np.mgrid[: pack.alpha.shape[0], : pack.alpha.shape[1]].astype(np.float32)
    down = (rows - pack.top - pack.tall * top) / max(tall, 1)
    taper = half + ((half if foot is None else foot) - half) * np.clip(down, 0, 1)
    across = (columns - pack.left - pack.wide / 2) / (taper * pack.wide)
    inside = np.abs(across) < 0.985
    arc = np.sqrt(np.clip(1 - across**2, 0, 1))
    down = down - bulge * (arc - 1) / max(tall, 1)
    inside &= (down >= 0) & (down < 1)
    turn = np.arcsin(np.clip(across, -1, 1)) / np.pi + 0.5 + 0.16 * yaw
    source = cv2.remap(
        printed,
        (turn * (printed.shape[1] - 1)).astype(np.float32),
        (np.clip(down, 0, 1) * (tall - 1)).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    inside &= pack.alpha > 127
    pack.colour[inside] = source[inside]


def _light(pack: Pack, light: int, name: str) -> None:
    """A hard shadow with dots on one side, a highlight on the other."""
    if name == "carton":
        return
    step = pack.wide * (0.1 if name in _FLAT else 0.24)
    mask = pack.alpha > 127
    dark = mask & ~_shifted(mask, light * step)
    darker = mask & ~_shifted(mask, light * step * 0.55)
    y, x = np.indices(mask.shape)
    dots = ((x + y) % 7 < 3) & ((x - y) % 7 < 3)
    pack.colour[dark & ~dots] = (pack.colour[dark & ~dots] * DOTTED).astype(np.uint8)
    pack.colour[darker | (dark & dots)] = (pack.colour[darker | (dark & dots)] * SHADE).astype(
        np.uint8
    )
    if name not in _FLAT:
        strip = _shifted(mask, -light * step * 0.6) & ~_shifted(mask, -light * step * 0.95)
        strip &= mask & _shifted(mask, light * step)
        shine = pack.colour[strip] * (1 - SHINE) + 255 * SHINE
        pack.colour[strip] = shine.astype(np.uint8)


def _shifted(mask: NDArray[np.bool_], step: float) -> NDArray[np.bool_]:
    return np.roll(mask, -round(step), axis=1)


def _outline(pack: Pack) -> None:
    """The thick contour."""
    solid = (pack.alpha > 127).astype(np.uint8)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(pack.colour, contours, -1, INK, 4, cv2.LINE_AA)
    cv2.drawContours(pack.alpha, contours, -1, 255, 4, cv2.LINE_AA)


def _cropped(pack: Pack, rng: np.random.Generator, centimetres: float) -> Sprite:
    """The pack as an unsteady hand draws it, tightly cropped."""
    tall, wide = pack.alpha.shape
    y, x = np.mgrid[:tall, :wide].astype(np.float32)
    coarse = rng.normal(0, 1.1, (2, 5, 5)).astype(np.float32)
    x += cv2.resize(coarse[0], (wide, tall), interpolation=cv2.INTER_CUBIC)
    y += cv2.resize(coarse[1], (wide, tall), interpolation=cv2.INTER_CUBIC)
    colour = np.asarray(cv2.remap(pack.colour, x, y, cv2.INTER_LINEAR), np.uint8)
    alpha = np.asarray(cv2.remap(pack.alpha, x, y, cv2.INTER_LINEAR), np.uint8)
    left, top, across, down = cv2.boundingRect((alpha > 127).astype(np.uint8))
    rows, columns = slice(top, top + down), slice(left, left + across)
    return Sprite(colour[rows, columns], alpha[rows, columns], down * centimetres)


_SQUARE = ("carton", "gable")
_FLAT = ("bar", "pouch", "gable", "trigger")
_ROUND = ("can", "jar", "cup", "bottle")

_PACKS: dict[str, Callable[[Pack, Product, float, float, float], None]] = {
    "carton": _carton,
    "gable": _gable,
    "can": _can,
    "jar": _jar,
    "cup": _cup,
    "bar": _bar,
    "pouch": _pouch,
    "bottle": _bottle,
    "trigger": _trigger,
}
