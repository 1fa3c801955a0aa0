"""Pictures of single products without surroundings: geometry, light, material and label."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.demo.label_layouts import Label, body_colour, print_label
from tasks.demo.lighting import Shading, light
from tasks.demo.package_shapes import SHAPES, Form, views
from tasks.demo.products import DemoProduct
from tasks.demo.rasterize_meshes import Geometry, project
from tasks.demo.surface_finishes import CLOSURES, Finish, Kind, answer, exposed, linear
from tasks.demo.surface_meshes import Floats, floats

LONGEST = 520
"""Longest side of a picture in pixels before it is halved against jagged edges."""

LARGEST = 160_000
"""Square pixels of the product's outline box before halving."""

SPACING = 1.3
"""Between points of a surface, in pixels; each covers two by two."""

TURNS = (0.0, 10.0, -9.0, 16.0)
"""How far the lamps are moved in each view, degrees."""

COLOURED_CAPS = ("pink", "jade", "white")
"""Caps that take the colour of the tint."""

SHEET_COLUMNS = 1024
"""Of the sheet into which a list of pixels is folded."""


@dataclass(frozen=True)
class Sprites:
    """A product seen from several sides.

    Attributes:
        pictures: one per view, uint8 `[height, width, 4]`: RGB multiplied by coverage, coverage.
        scale: pixels per millimetre.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    scale: float


@dataclass(frozen=True)
class _Patch:
    """The pixels of one part in one view.

    Attributes:
        slot: which finish covers it.
        pixels: int64 `[pixels]`, indices into the flattened view.
        light: on those pixels.
        texture: float32 `[pixels, 2]`, label coordinates in millimetres.
    """

    slot: str
    pixels: NDArray[np.int64]
    light: Shading
    texture: Floats


@dataclass(frozen=True)
class _Stage:
    """A form, projected and lit for one view: what all products of the form share."""

    height: int
    width: int
    patches: list[_Patch]


def draw_family(items: Sequence[DemoProduct]) -> list[Sprites]:
    """Draw products that share one form: the geometry and the light are computed once."""
    form = items[0].form
    scale = _scale(form)
    surfaces = SHAPES[form.shape](form, SPACING / scale)
    stages = [
        _set_up(project(surfaces, view, scale), turn)
        for view, turn in zip(views(form), TURNS, strict=True)
    ]
    return [_draw(item, stages, scale) for item in items]


def _set_up(geometry: Geometry, turn: float) -> _Stage:
    lit = light(geometry, turn)
    flat = Shading(*(x.reshape(-1) for x in (lit.diffuse, lit.sharp, lit.soft, lit.facing)))
    patches = []
    for index, slot in enumerate(geometry.slots):
        pixels = np.flatnonzero(geometry.part == index)
        here = _at(flat, pixels)
        patches.append(_Patch(slot, pixels, here, geometry.texture.reshape(-1, 2)[pixels]))
    height, width = geometry.part.shape
    return _Stage(height, width, patches)


def _scale(form: Form) -> float:
    coarse = np.concatenate([surface.points for surface in SHAPES[form.shape](form, 2.0)])
    wide, tall, deep = np.ptp(coarse, axis=0)
    seen = max(tall, 0.9 * deep) if form.shape == "compact" else tall
    return float(min(LONGEST / max(wide, seen), np.sqrt(LARGEST / (wide * seen))))


def _draw(item: DemoProduct, stages: Sequence[_Stage], scale: float) -> Sprites:
    label, finishes = print_label(item, scale), _finishes(item)
    pictures = tuple(_halved(_develop(stage, finishes, label)) for stage in stages)
    return Sprites(pictures, scale / 2)


def _finishes(item: DemoProduct) -> dict[str, Finish]:
    """What covers each slot of a product's form."""
    brand, tint = item.brand, linear(item.tint.colour)
    cap = CLOSURES[brand.cap]
    if brand.cap in COLOURED_CAPS:
        cap = Finish(cap.kind, tint)
    if item.form.shape == "dropper":
        cap = CLOSURES["rubber"] if brand.cap != "white" else CLOSURES["white"]
    body = Finish("matte" if brand.finish == "matte" else "gloss", linear(body_colour(item)))
    if item.form.shape == "compact":
        body = Finish("powder", tint)
    elif item.category.glass:
        body = Finish("glass", tint)
    elif brand.finish == "amber":
        body = Finish("glass", linear("#8a5424"))
    elif brand.finish == "pearl":
        body = Finish("pearl", linear(body_colour(item)))
    return {
        "body": body,
        "cap": cap,
        "trim": CLOSURES[brand.trim],
        "bullet": Finish("pearl", tint),
    }


def _develop(stage: _Stage, finishes: dict[str, Finish], label: Label) -> Floats:
    """A view in its materials: float32 `[height, width, 4]`, coverage-multiplied."""
    picture = np.zeros((stage.height * stage.width, 4), np.float32)
    for patch in stage.patches:
        finish = finishes[patch.slot]
        colour = floats(finish.colour)
        if finish.kind == "glass":
            colour = _filled(colour, patch.texture[:, 1], label)
        sent = answer(finish.kind, colour, patch.light, patch.texture)
        if patch.slot == "body":
            _print_on(sent, patch, label, "powder" if finish.kind == "powder" else "gloss")
        picture[patch.pixels, :3] = exposed(sent)
        picture[patch.pixels, 3] = 1
    return picture.reshape(stage.height, stage.width, 4)


def _filled(colour: Floats, height: Floats, label: Label) -> Floats:
    """The colour of a glass body `[pixels, 3]`: clear in its heavy foot and above the liquid."""
    share = (height - label.top) * label.scale / label.foil.shape[0] + 1
    clear = np.clip((0.06 - share) / 0.02, 0, 1) + np.clip((share - 1.0) / 0.02, 0, 1)
    weight = 0.75 * clear[:, None]
    return floats(colour * (1 - weight) + np.sqrt(np.sqrt(colour)) * weight)


def _print_on(sent: Floats, patch: _Patch, label: Label, ink: Kind) -> None:
    """Put the label on body pixels `[pixels, 3]`; bands at its edges continue round the body."""
    width = label.foil.shape[1]
    column = np.clip((patch.texture[:, 0] - label.left) * label.scale - 0.5, 0, width - 1)
    row = (label.top - patch.texture[:, 1]) * label.scale - 0.5
    # remap limits the sides of what it makes: the list of pixels becomes a sheet.
    rows = -(-len(row) // SHEET_COLUMNS)
    x, y = (np.resize(axis, (rows, SHEET_COLUMNS)) for axis in (column, row))
    inks, foils = (cv2.remap(sheet, x, y, cv2.INTER_LINEAR) for sheet in (label.ink, label.foil))
    found = inks.reshape(-1, 4)[: len(row)]
    printed = np.flatnonzero(found[:, 3])
    values = floats(found[printed]) / np.float32(255)
    colour, cover = values[:, :3] ** 2, values[:, 3:]
    texture = patch.texture[printed]
    light_here = _at(patch.light, printed)
    shown = answer(ink, colour, light_here, texture)
    foil = foils.reshape(-1)[printed]
    metal = np.flatnonzero(foil)
    if len(metal):
        share = floats(foil[metal, None]) / np.float32(255)
        shine = answer(
            "metal", floats(colour[metal] ** 0.8), _at(light_here, metal), texture[metal]
        )
        shown[metal] = shown[metal] * (1 - share) + shine * share
    sent[printed] = sent[printed] * (1 - cover) + shown * cover


def _at(light_here: Shading, pixels: NDArray[np.int64]) -> Shading:
    return Shading(
        light_here.diffuse[pixels],
        light_here.sharp[pixels],
        light_here.soft[pixels],
        light_here.facing[pixels],
    )


def _halved(picture: Floats) -> NDArray[np.uint8]:
    """The picture at half size; odd edges are padded, so that nothing is cut."""
    height, width = picture.shape[:2]
    even = cv2.copyMakeBorder(picture, height % 2, 0, 0, width % 2, cv2.BORDER_CONSTANT)
    small = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(small * 255 + 0.5, 0, 255), np.uint8)
