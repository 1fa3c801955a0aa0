"""Props of pseudo-bundles, which hold products and are none: shelves, boxes and hands.

All are drawn plainly, in any colour, with or without outlines and shading, so that the detector
learns to ignore such forms and not how they look in one catalogue.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.synthesis.clutter import Colour
from tasks.synthesis.pseudo_bundle_material import Pixels
from tasks.synthesis.random_choice import choose
from unbundle.vision.imaging import Photo

SKIN = ((96, 62, 48), (250, 216, 190))
"""RGB of dark and light skin; hands are between them."""

TAGS = 0.5
"""Share of shelves with price tags on the boards' edges."""

FINGERS = (3, 5)
"""Seen around the far edge of a held product, at least and at most."""

_SHIFT = 3
"""Bits of the fraction in OpenCV's coordinates."""


@dataclass(frozen=True)
class Hand:
    """A hand that holds a product.

    Attributes:
        skin: its colour.
        outline: pixels of its outline, 0 without one.
        side: 1 where the arm comes from the right, else -1.
        grip: height of the fingers in the picture, in pixels.
        thick: of a finger, in pixels.
    """

    skin: Colour
    outline: int
    side: int
    grip: float
    thick: int


def add_shelf(canvas: Pixels, random: np.random.Generator) -> tuple[Pixels, list[float]]:
    """The background with one or two boards, and the boards' upper edges in pixels."""
    scene = _bytes(canvas)
    height, width = scene.shape[:2]
    count = int(random.integers(1, 3))
    thick = max(2, round(height * random.uniform(0.02, 0.08)))
    last = height * random.uniform(0.78, 0.95)
    edges = [last * (board + 1) / count for board in range(count)]
    colour, outline = _colour(random), _outline(random)
    tags = random.random() < TAGS
    for edge in edges:
        top = round(edge)
        # Boards throw a shadow on what is below them.
        dark = scene[top + thick : top + 2 * thick]
        dark[:] = (dark * random.uniform(0.5, 0.95)).astype(np.uint8)
        _panel(scene, _rectangle(-4, top, width + 4, top + thick), colour, outline)
        if tags:
            _tags(scene, top, thick, random)
    return scene.astype(np.float32), edges


def add_box(canvas: Pixels, random: np.random.Generator) -> tuple[Pixels, NDArray[np.int32]]:
    """The background with an open box; and its front wall `[4, 2]`, for `close_box`."""
    scene = _bytes(canvas)
    height, width = scene.shape[:2]
    left, right = width * random.uniform(-0.02, 0.1), width * random.uniform(0.9, 1.02)
    rim, floor = height * random.uniform(0.1, 0.5), height * random.uniform(0.9, 1.04)
    wall = height * random.uniform(0.65, 0.88)
    narrow = random.uniform(0, 0.06) * width
    colour, outline = _colour(random), _outline(random)
    inside = np.asarray(
        [[left + narrow, rim], [right - narrow, rim], [right, floor], [left, floor]]
    )
    _panel(scene, inside, _toned(colour, random.uniform(0.5, 0.9)), outline)
    for edge, sign in ((left, -1), (right, 1)):
        reach = sign * random.uniform(-0.03, 0.08) * width
        flap = [[edge - sign * narrow, rim], [edge + reach, rim + (wall - rim) * 0.3]]
        low = [[edge + reach, wall], [edge, wall]]
        _panel(scene, np.asarray(flap + low), _toned(colour, random.uniform(0.8, 1.1)), outline)
    front = np.asarray([[left, wall], [right, wall], [right, floor], [left, floor]])
    return scene.astype(np.float32), np.round(front).astype(np.int32)


def close_box(
    canvas: Pixels, wall: NDArray[np.int32], random: np.random.Generator
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Draw the front wall over what stands in the box; also where it hides things."""
    scene = _bytes(canvas)
    colour = _colour(random)
    _panel(scene, wall, colour, _outline(random))
    (x0, y0), (x1, y1) = wall[0], wall[2]
    for _ in range(int(random.integers(0, 3))):
        # Tape, handles and printing.
        x, y = random.uniform(x0, x1), random.uniform(y0, y1)
        wide, tall = random.uniform(0.02, 0.2) * (x1 - x0), random.uniform(0.1, 0.6) * (y1 - y0)
        _panel(scene, _rectangle(x, y, min(x + wide, x1), min(y + tall, y1)), _colour(random), 0)
    hidden = np.zeros(scene.shape[:2], np.uint8)
    cv2.fillPoly(hidden, [wall], 1)
    return scene.astype(np.float32), hidden.astype(bool)


def reach_in(
    canvas: Pixels, box: tuple[int, int, int, int], random: np.random.Generator
) -> tuple[Pixels, Hand]:
    """Draw an arm from the border and a palm, before the product at `box` is pasted on them."""
    scene = _bytes(canvas)
    height, width = scene.shape[:2]
    x0, y0, x1, y1 = box
    wide, tall = x1 - x0, y1 - y0
    share = random.uniform(0, 1, 3) * 0.12 + random.uniform(0, 0.88)
    skin = tuple(int(a + (b - a) * part) for a, b, part in zip(*SKIN, share, strict=True))
    side = 1 if random.random() < 0.5 else -1
    grip = y0 + tall * random.uniform(0.35, 0.85)
    thick = max(3, round(min(0.24 * wide, 0.14 * tall) * random.uniform(0.7, 1.2)))
    hand = Hand((skin[0], skin[1], skin[2]), _outline(random), side, grip, thick)
    palm = np.asarray([(x0 + x1) / 2 + side * wide * random.uniform(0.25, 0.5), grip])
    far = width * (1.1 if side > 0 else -0.1)
    start = np.asarray([far, height * random.uniform(0.6, 1.3)])
    if random.random() < 0.3:
        start = np.asarray([palm[0] + side * wide * random.uniform(0, 0.6), height * 1.15])
    arm = round(thick * random.uniform(2.2, 3.6))
    _limb(scene, start, palm, arm, hand)
    if random.random() < 0.6:
        cuff = start + (palm - start) * random.uniform(0.2, 0.6)
        sleeve = Hand(_colour(random), hand.outline, side, grip, thick)
        _limb(scene, start, cuff, round(arm * random.uniform(1.1, 1.5)), sleeve)
    half = np.asarray([0, thick])
    _limb(scene, palm - half, palm + half, round(thick * 3), hand)
    return scene.astype(np.float32), hand


def close_fingers(
    canvas: Pixels, hand: Hand, box: tuple[int, int, int, int], random: np.random.Generator
) -> Pixels:
    """Draw fingers around the far edge of the product at `box`, and the thumb around the near."""
    scene = _bytes(canvas)
    x0, _, x1, _ = box
    near, far = (x1, x0) if hand.side > 0 else (x0, x1)
    inward, thick = hand.side * (x1 - x0), hand.thick
    tilt = random.uniform(-0.6, 0.6) * thick
    count = int(random.integers(FINGERS[0], FINGERS[1] + 1)) if random.random() < 0.8 else 0
    for place in range(count):
        y = hand.grip + (place - (count - 1) / 2) * thick * 1.1
        tip = np.asarray([far + inward * random.uniform(0.1, 0.3), y + tilt])
        _limb(scene, np.asarray([far - hand.side * thick * 0.4, y]), tip, thick, hand)
    tip = np.asarray([near - inward * random.uniform(0.1, 0.4), hand.grip - thick + tilt])
    root = np.asarray([near + hand.side * thick * 0.6, hand.grip + thick * random.uniform(0, 2)])
    _limb(scene, root, tip, round(thick * 1.2), hand)
    return scene.astype(np.float32)


def _limb(
    scene: Photo, start: NDArray[np.float64], end: NDArray[np.float64], thick: int, hand: Hand
) -> None:
    """A line with round ends; darker below, so that it looks round."""
    first, last = (
        tuple(np.round(point * 2**_SHIFT).astype(int).tolist()) for point in (start, end)
    )
    dark = _toned(hand.skin, 0.2 if hand.outline else 0.72)
    edge = thick + 2 * max(hand.outline, 1)
    cv2.line(scene, first, last, dark, edge, cv2.LINE_AA, _SHIFT)
    cv2.line(scene, first, last, hand.skin, max(1, thick), cv2.LINE_AA, _SHIFT)


def _tags(scene: Photo, top: int, thick: int, random: np.random.Generator) -> None:
    width = scene.shape[1]
    wide, step = width * random.uniform(0.06, 0.16), width * random.uniform(0.2, 0.45)
    colour = choose(random, ((255, 255, 255), (250, 240, 150), _colour(random)))
    x = random.uniform(0, step)
    while x < width:
        _panel(scene, _rectangle(x, top + 1, x + wide, top + thick), colour, 0)
        middle = top + thick // 2
        cv2.line(scene, (round(x + 2), middle), (round(x + wide * 0.6), middle), (40, 40, 40), 1)
        x += step


def _panel(
    scene: Photo, outline: NDArray[np.float64 | np.int32], colour: Colour, width: int
) -> None:
    corners = np.round(outline).astype(np.int32)
    cv2.fillPoly(scene, [corners], colour, cv2.LINE_AA)
    if width:
        cv2.polylines(scene, [corners], True, _toned(colour, 0.2), width, cv2.LINE_AA)


def _rectangle(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
    return np.asarray([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def _colour(random: np.random.Generator) -> Colour:
    """Mostly as wood, cardboard, metal and paint are: not too bright."""
    red, green, blue = (random.uniform(40, 255) * random.uniform(0.6, 1, 3)).astype(int).tolist()
    return red, green, blue


def _toned(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return red, green, blue


def _outline(random: np.random.Generator) -> int:
    """Pixels of an outline; most things have none."""
    return int(random.integers(1, 4)) if random.random() < 0.4 else 0


def _bytes(canvas: Pixels) -> Photo:
    return np.clip(canvas, 0, 255).astype(np.uint8)
