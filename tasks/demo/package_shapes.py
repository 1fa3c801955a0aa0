"""The kinds of packaging, as surfaces with a size and a few proportions of their own."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.demo.rasterize_meshes import View
from tasks.demo.surface_meshes import Floats, Surface, floats, loft, rounded, sheared, tube


@dataclass(frozen=True)
class Form:
    """Proportions of one packaging.

    Attributes:
        shape: key of `SHAPES`.
        width: of the body in millimetres.
        height: of the body without its closure, millimetres.
        squareness: cross-section: 2 round, 8 nearly square.
        depth: depth of the body as a share of its width.
        shoulder: 0 sharp … 1 sloping.
        closure: length of the cap relative to the usual one.
    """

    shape: str
    width: float
    height: float
    squareness: float
    depth: float
    shoulder: float
    closure: float


@dataclass(frozen=True)
class Panel:
    """Where the label goes on the body: half width, bottom and top in label coordinates (mm)."""

    half_width: float
    bottom: float
    top: float


UPRIGHT = (View(0, 7), View(-11, 10), View(10, 5), View(4, 13))
FROM_ABOVE = (View(0, 64), View(-10, 58), View(9, 69), View(3, 54))
VIEWS = len(UPRIGHT)
"""From how many sides every product is drawn."""


def _cylinder(radius: float, low: float, high: float, fillet: float) -> Floats:
    return rounded([(radius, low, 0), (radius, high, fillet), (0.05, high, 0)])


def _vessel(form: Form, neck: float) -> Floats:
    """Outline of a bottle: foot, wall, shoulder and neck."""
    half, top = form.width / 2, form.height
    drop = (0.06 + 0.3 * form.shoulder) * half
    foot = min(2.5, 0.1 * half)
    return rounded(
        [
            (half * 0.94, 0, 0),
            (half, foot, foot),
            (half, top - drop, drop * 0.9),
            (neck + 0.3, top, 1.5),
            (neck, top + 2, 0),
        ]
    )


def _body(form: Form, neck: float, spacing: float) -> Surface:
    return loft("body", _vessel(form, neck), spacing, depth=form.depth, squareness=form.squareness)


def bottle(form: Form, spacing: float) -> list[Surface]:
    """A toner bottle with a screw cap."""
    neck = form.width * 0.25
    low, high = form.height + 1, form.height + 1 + 0.2 * form.height * form.closure
    cap = loft("cap", _cylinder(neck * 1.18, low, high, 1.6), spacing)
    collar = loft("trim", _cylinder(neck * 1.24, low - 1, low + 1.6, 0.4), spacing)
    return [_body(form, neck, spacing), collar, cap]


def pump(form: Form, spacing: float) -> list[Surface]:
    """A lotion pump: collar, stem, and a head with a bent spout."""
    neck, top = form.width * 0.2, form.height + 1
    lift = 9 + 0.05 * form.height * form.closure
    reach = 0.52 * form.width
    head = top + lift + 8
    collar = loft("trim", _cylinder(neck * 1.25, top - 1, top + 8, 1), spacing)
    stem = loft("cap", _cylinder(neck * 0.42, top + 7, head + 1, 0.2), spacing)
    knob = loft("cap", _cylinder(neck * 0.85, head, head + 6.5, 2), spacing)
    path = np.asarray(
        [(0, head + 4), (-0.6 * reach, head + 4), (-0.92 * reach, head + 2.6), (-reach, head - 2)],
        np.float32,
    )
    radii = np.asarray([2.8, 2.5, 2.2, 1.8], np.float32) * (neck / 9)
    return [_body(form, neck, spacing), collar, stem, knob, tube("cap", path, radii, spacing)]


def dropper(form: Form, spacing: float) -> list[Surface]:
    """A serum bottle with a pipette cap and a rubber bulb."""
    neck, top = form.width * 0.26, form.height + 1
    collar = top + 0.2 * form.height * form.closure
    bulb = collar + 0.24 * form.height
    rubber = rounded(
        [
            (neck * 0.66, collar - 0.5, 0),
            (neck * 0.78, collar + 2, 1),
            (neck * 0.6, bulb - 4, 3),
            (neck * 0.5, bulb, 4),
            (0.05, bulb, 0),
        ]
    )
    return [
        _body(form, neck, spacing),
        loft("trim", _cylinder(neck * 1.2, top - 1, collar, 1), spacing),
        loft("cap", rubber, spacing),
    ]


def jar(form: Form, spacing: float) -> list[Surface]:
    """A cream jar with a wide lid."""
    half, top = form.width / 2, form.height
    foot = 2 + 5 * form.shoulder
    wall = rounded([(half * 0.86, 0, 0), (half, foot, foot), (half, top, 1), (half * 0.9, top, 0)])
    high = top + 1 + 0.42 * form.height * form.closure
    lid = _cylinder(half * 1.01, top + 0.6, high, 2.2)
    return [
        loft("body", wall, spacing, squareness=form.squareness),
        loft("trim", _cylinder(half * 0.97, top - 0.4, top + 1, 0.2), spacing),
        loft("cap", lid, spacing, squareness=form.squareness, mapping="top"),
    ]


def squeeze_tube(form: Form, spacing: float) -> list[Surface]:
    """A tube that stands on its cap, round at the cap and flat at the crimp."""
    half, base = form.width / 2, 0.2 * form.height * form.closure
    top = base + form.height
    heights = np.linspace(0, 1, 14, dtype=np.float32)
    swell = 1 + 0.12 * heights
    outline = np.column_stack([half * 0.9 * swell, base + heights * form.height])
    outline = np.concatenate([[[half * 0.6, base - 0.5]], outline, [[half, top + 5]]])
    flat = np.concatenate([[1.0], np.clip(1 - heights**1.5, 0.05, 1), [0.05]])
    cap = rounded([(half * 0.74, 0, 0), (half * 0.84, base, 1), (0.05, base, 0)])
    return [
        loft("body", floats(outline), spacing, depth=floats(flat)),
        loft("cap", cap, spacing),
    ]


def lipstick(form: Form, spacing: float) -> list[Surface]:
    """An open lipstick: base, metal collar and a slanted bullet."""
    half, top = form.width / 2, form.height
    inner = top + 0.32 * form.height
    tip = inner + 0.42 * form.height * form.closure
    base = loft("body", _cylinder(half, 0, top, 0.8), spacing, squareness=form.squareness)
    bullet = rounded(
        [
            (half * 0.66, inner - 2, 0),
            (half * 0.66, tip, 3),
            (half * 0.3, tip + 2.2, 2),
            (0.05, tip + 2.6, 0),
        ]
    )
    return [
        base,
        loft("trim", _cylinder(half * 0.8, top - 0.5, inner, 0.7), spacing),
        sheared(loft("bullet", bullet, spacing), inner, tip, 0.75),
    ]


def gloss(form: Form, spacing: float) -> list[Surface]:
    """A lip gloss: a clear tube of colour under a long cap."""
    half, top = form.width / 2, form.height
    low, high = top + 1, top + 1 + 0.75 * form.height * form.closure
    return [
        loft("body", _cylinder(half, 0, top, 2), spacing, squareness=form.squareness),
        loft("trim", _cylinder(half * 0.82, top - 0.5, low + 0.6, 0.3), spacing),
        loft("cap", _cylinder(half * 0.98, low, high, 1.2), spacing, squareness=form.squareness),
    ]


def compact(form: Form, spacing: float) -> list[Surface]:
    """A round or square compact seen from above: rim, lid plate and the pan's colour."""
    half, top = form.width / 2, form.height
    rim = rounded([(half * 0.94, 0, 0), (half, top * 0.5, 2), (half * 0.9, top, 2), (0.05, top, 0)])
    plate = _cylinder(half * 0.84, top, top + 0.7, 0.4)
    kind = form.squareness
    return [
        loft("trim", rim, spacing, squareness=kind),
        loft("body", plate, spacing, squareness=kind, mapping="top"),
    ]


def spray(form: Form, spacing: float) -> list[Surface]:
    """A perfume or mist bottle with a spray head under a solid cap."""
    neck, top = form.width * 0.2, form.height + 1
    low = top + 3
    high = low + (0.16 * form.height + 6) * form.closure
    cap = _cylinder(min(neck * 1.5, form.width * form.depth * 0.46), low, high, 1.2)
    return [
        _body(form, neck, spacing),
        loft("trim", _cylinder(neck * 1.1, top - 1, low + 0.5, 0.4), spacing),
        loft("cap", cap, spacing, squareness=form.squareness),
    ]


SHAPES: dict[str, Callable[[Form, float], list[Surface]]] = {
    "bottle": bottle,
    "pump": pump,
    "dropper": dropper,
    "jar": jar,
    "tube": squeeze_tube,
    "lipstick": lipstick,
    "gloss": gloss,
    "compact": compact,
    "spray": spray,
}


def views(form: Form) -> tuple[View, ...]:
    """The camera positions of a form's photos; what lies flat is seen from above."""
    return FROM_ABOVE if form.shape == "compact" else UPRIGHT


def panel(form: Form) -> Panel:
    """The printable face of a form's body."""
    half, height = form.width / 2, form.height
    quarter = half * np.pi / 2 if form.squareness < 3 else half
    match form.shape:
        case "compact":
            return Panel(half * 0.84, -half * 0.84, half * 0.84)
        case "tube":
            base = 0.2 * height * form.closure
            return Panel(half * 1.1, base, base + 0.96 * height)
        case "jar" | "lipstick" | "gloss":
            return Panel(quarter, 0, height)
        case _:
            drop = (0.06 + 0.3 * form.shoulder) * half
            return Panel(quarter, 0, height - drop)
