"""How plastic, metal, glass and wood answer the studio's light."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.demo.lighting import Shading
from tasks.demo.surface_meshes import Floats

Kind = Literal["gloss", "matte", "pearl", "metal", "glass", "rubber", "wood", "powder"]


@dataclass(frozen=True)
class Finish:
    """A material: its kind and its colour in linear light, 0..1."""

    kind: Kind
    colour: tuple[float, float, float]


def linear(code: str) -> tuple[float, float, float]:
    """A colour such as "#c8a46a" in linear light (gamma 2)."""
    red, green, blue = (int(code[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red**2, green**2, blue**2


CLOSURES: dict[str, Finish] = {
    "gold": Finish("metal", linear("#e9c684")),
    "silver": Finish("metal", linear("#d9dce0")),
    "bronze": Finish("metal", linear("#b98163")),
    "white": Finish("gloss", linear("#f4f3f1")),
    "black": Finish("gloss", linear("#26262a")),
    "pink": Finish("gloss", linear("#f08aab")),
    "jade": Finish("pearl", linear("#8fbfa8")),
    "wood": Finish("wood", linear("#c79d6b")),
    "rubber": Finish("rubber", linear("#2b2b2e")),
}
"""Caps and trims that brands choose from."""


def answer(kind: Kind, colour: Floats, light: Shading, texture: Floats) -> Floats:
    """Light sent to the camera.

    Args:
        kind: the material.
        colour: float32 `[3]` or `[pixels, 3]`, linear.
        light: of the pixels, each array `[pixels]`.
        texture: label coordinates `[pixels, 2]` in millimetres, for grain.

    Returns:
        float32 `[pixels, 3]`, linear, may exceed 1 in highlights.
    """
    diffuse, sharp, soft = (x[:, None] for x in (light.diffuse, light.sharp, light.soft))
    facing = np.clip(light.facing, 0, 1)[:, None]
    fresnel = (1 - facing) ** 4
    match kind:
        case "metal":
            tinted = colour * (0.72 * sharp + 0.28 * soft)
            sent = tinted * (0.9 - 0.35 * fresnel) + 0.35 * fresnel * sharp
        case "glass":
            # Light crosses more liquid near the edge; the backdrop shines through the middle.
            depth = 0.75 + 1.2 * (1 - facing) ** 1.5
            body = np.power(np.clip(colour, 0.004, 1), depth) * (0.5 + 0.5 * facing**2)
            sent = body * (0.6 + 0.4 * diffuse) + sharp * (0.15 + 0.55 * fresnel)
        case "pearl":
            sent = colour * (0.72 * diffuse + 0.22 * soft) + sharp * (0.05 + 0.3 * fresnel)
        case "gloss":
            sent = colour * 0.9 * diffuse + sharp * (0.1 + 0.4 * fresnel)
        case "wood":
            grain = np.sin(texture[:, :1] * 1.7 + 1.5 * np.sin(texture[:, 1:] * 0.35))
            fine = np.sin(texture[:, :1] * 7.3 + 2.0 * np.sin(texture[:, 1:] * 0.6))
            sent = colour * diffuse * (1 + 0.09 * grain + 0.05 * fine) + 0.02 * soft
        case "rubber":
            sent = colour * diffuse + soft * (0.03 + 0.15 * fresnel)
        case "matte":
            sent = colour * diffuse + soft * (0.05 + 0.15 * fresnel)
        case "powder":
            sent = colour * (0.25 + 0.75 * diffuse)
    return np.asarray(sent, np.float32)


def exposed(sent: Floats) -> Floats:
    """Linear light as display values 0..1: highlights roll off instead of clipping hard."""
    above = np.maximum(sent - 0.65, 0)
    rolled = np.minimum(sent, 0.65) + 0.35 * above / (0.35 + above)
    return np.asarray(np.sqrt(rolled), np.float32)
