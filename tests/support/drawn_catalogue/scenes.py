"""Composes photos of this style by kind of scene, with the box of what shows of each product."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .backdrops import (
    SKINS,
    arm,
    box_back,
    box_front,
    counter,
    fingers,
    one_of,
    paper,
    shelf,
    tray,
    white,
)
from .canvas import Box, Canvas
from .icons import icon
from .packs import Sprite, draw_pack
from .pen_strokes import INK, Picture, Points, ellipse, panel, rectangle, write
from .products import Colour, Product

OVERLAP = 0.2
"""Of the smaller box, where products are scattered, at most."""

EVEN = 0.5
"""Exponent by which true sizes are evened out, so that a bar beside a box is no speck."""

ATTEMPTS = 60
"""At a photo; each is drawn anew, a little smaller."""

TRIES = 30
"""Places tried for a product before the layout is given up."""


@dataclass(frozen=True)
class Drawn:
    """A photo: RGB uint8 `[height, width, 3]`, and one box per product, in their order."""

    pixels: Picture
    boxes: list[Box]


def draw_scene(
    scene: str, products: Sequence[Product], side: int, rng: np.random.Generator
) -> Drawn:
    """Draw a photo.

    Args:
        scene: one of `SCENES`.
        products: what it shows, one to six.
        side: of the photo's longer side, in pixels.
        rng: decides the rest.

    Raises:
        RuntimeError: no layout shows all products.
    """
    compose = _SCENES[scene]
    for attempt in range(ATTEMPTS):
        light = 1 if rng.random() < 0.5 else -1
        sprites = [draw_pack(one, float(rng.uniform(-0.9, 0.9)), light, rng) for one in products]
        ratio = float(rng.choice([1.0, 0.75, 0.8]))
        tall = len(products) < 3 and rng.random() < 0.5
        frame = (int(side * ratio), side) if tall else (side, int(side * ratio))
        canvas = compose(rng, frame, sprites, 0.985**attempt)
        boxes = None if canvas is None else canvas.boxes()
        if canvas is not None and boxes is not None:
            return Drawn(_graded(canvas.pixels, scene, rng), boxes)
    raise RuntimeError(f"no {scene} of {len(products)} products in {side} pixels")


def _sizes(sprites: Sequence[Sprite]) -> list[tuple[float, float]]:
    """Width and height of each product in a common unit."""
    sizes = []
    for sprite in sprites:
        tall, wide = sprite.alpha.shape
        height = sprite.height / (sprite.height * sprite.height * wide / tall) ** (EVEN / 2)
        sizes.append((height * wide / tall, height))
    return sizes


def _stand(
    canvas: Canvas,
    rng: np.random.Generator,
    sprites: Sequence[tuple[int, Sprite]],
    floor: float,
    room: tuple[float, float, float],
    shrink: float,
) -> None:
    """Products side by side on a floor; `room` is left, right and the height above the floor."""
    left, right, above = room
    sizes = _sizes([sprite for _, sprite in sprites])
    gap = float(rng.uniform(-0.04, 0.14))
    total = sum(wide for wide, _ in sizes) * (1 + gap)
    fit = min((right - left) * 0.94 / total, above * 0.96 / max(tall for _, tall in sizes))
    factor = fit * float(rng.uniform(0.82, 1.0)) * shrink
    x = left + ((right - left) - total * factor) * float(rng.uniform(0.2, 0.8))
    for place in rng.permutation(len(sprites)).tolist():
        wide, tall = (side * factor for side in sizes[place])
        y = floor + float(rng.uniform(0, 0.05)) * tall - tall / 2
        index, sprite = sprites[place]
        canvas.place(sprite, index, (x + wide * (1 + gap) / 2, y), tall, float(rng.normal(0, 1.2)))
        x += wide * (1 + gap)


def _strew(
    canvas: Canvas,
    rng: np.random.Generator,
    sprites: Sequence[Sprite],
    shrink: float,
    inset: float,
) -> bool:
    """Products at any place and angle; `inset` pixels from the border, negative beyond it."""
    tall, wide = canvas.owner.shape
    sizes = _sizes(sprites)
    full = np.sqrt(wide * tall / sum(a * b for a, b in sizes))
    factor = full * float(rng.uniform(0.55, 0.75)) * shrink
    taken: list[tuple[float, float, float, float]] = []
    for index, sprite in enumerate(sprites):
        turn = float(rng.uniform(0, 360) if rng.random() < 0.3 else rng.normal(0, 14))
        reach = _reach(sizes[index], factor, turn)
        low = np.asarray(reach) + inset
        high = np.asarray([wide, tall]) - low
        if (high < low).any():
            return False
        for _ in range(TRIES):
            x, y = rng.uniform(low, high).tolist()
            box = (x - reach[0], y - reach[1], x + reach[0], y + reach[1])
            if all(_shared(box, other) <= OVERLAP for other in taken):
                break
        else:
            return False
        taken.append(box)
        canvas.place(sprite, index, (x, y), sizes[index][1] * factor, turn)
    return True


def _reach(size: tuple[float, float], factor: float, turn: float) -> tuple[float, float]:
    cos, sin = abs(np.cos(np.deg2rad(turn))), abs(np.sin(np.deg2rad(turn)))
    wide, tall = (side * factor / 2 for side in size)
    return float(wide * cos + tall * sin), float(wide * sin + tall * cos)


def _shared(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    """Shared area over the smaller box's."""
    across = min(first[2], second[2]) - max(first[0], second[0])
    down = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(0.0, across) * max(0.0, down) / smaller


Frame = tuple[int, int]
Compose = Callable[[np.random.Generator, Frame, Sequence[Sprite], float], Canvas | None]


def _on_white(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    canvas = Canvas(white(rng, *frame), len(sprites))
    if rng.random() < 0.3:
        return canvas if _strew(canvas, rng, sprites, shrink, 4) else None
    wide, tall = frame
    floor = tall * float(rng.uniform(0.86, 0.94))
    _stand(canvas, rng, list(enumerate(sprites)), floor, (4, wide - 4, floor - 4), shrink)
    return canvas


def _plain(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    if rng.random() < 0.5:
        canvas = Canvas(paper(rng, *frame), len(sprites))
        return canvas if _strew(canvas, rng, sprites, shrink, 4) else None
    pixels, floor = counter(rng, *frame)
    canvas = Canvas(pixels, len(sprites))
    _stand(canvas, rng, list(enumerate(sprites)), floor, (4, frame[0] - 4, floor - 4), shrink)
    return canvas


def _cut(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    """Cut by the border."""
    canvas = Canvas(paper(rng, *frame), len(sprites))
    beyond = min(frame) * 0.16
    if not _strew(canvas, rng, sprites, shrink * 1.15, -beyond):
        return None
    seen = [int((canvas.owner == index).sum()) for index in range(len(sprites))]
    cut = any(some < 0.95 * whole for some, whole in zip(seen, canvas.whole, strict=True))
    return canvas if cut else None


def _held(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    """In a hand, or each in its own."""
    wide, tall = frame
    behind = paper(rng, *frame) if rng.random() < 0.6 else shelf(rng, *frame, 2)[0]
    canvas = Canvas(behind, len(sprites))
    sizes = _sizes(sprites)
    room = wide / len(sprites)
    skin = one_of(rng, SKINS)
    for index, sprite in enumerate(sprites):
        side = 1 if (len(sprites) == 1 and rng.random() < 0.5) or index else -1
        fit = min(room * 0.7 / sizes[index][0], tall * 0.8 / sizes[index][1])
        factor = fit * float(rng.uniform(0.75, 1.0)) * shrink
        x = room * (index + 0.5) + float(rng.uniform(-0.05, 0.05)) * wide
        y = tall * float(rng.uniform(0.42, 0.5))
        across, down = sizes[index][0] * factor, sizes[index][1] * factor
        grip = np.asarray([x + side * across * 0.3, y + down * float(rng.uniform(0.1, 0.3))])
        arm(canvas.pixels, rng, skin, grip, max(across, down * 0.4), side)
        held = canvas.place(sprite, index, (x, y), down, float(rng.normal(0, 5)))
        grasp = float(grip[1])

        def hold(
            picture: Picture,
            held: tuple[float, float, float, float] = held,
            grasp: float = grasp,
            side: int = side,
        ) -> None:
            fingers(picture, skin, held, grasp, side)

        canvas.cover(hold)
    return canvas


def _shelved(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    boards = 2 if len(sprites) > 2 or (len(sprites) == 2 and rng.random() < 0.3) else 1
    pixels, edges = shelf(rng, *frame, boards)
    canvas = Canvas(pixels, len(sprites))
    numbered = list(enumerate(sprites))
    split = -(-len(sprites) // 2) if boards == 2 else len(sprites)
    room = (frame[0] * 0.03, frame[0] * 0.97, frame[1] * 0.78 / boards)
    for row, edge in zip((numbered[:split], numbered[split:]), edges, strict=False):
        _stand(canvas, rng, row, edge, room, shrink)
    return canvas


def _boxed(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    """In a cardboard box, seen from the front or from above."""
    if rng.random() < 0.4:
        canvas = Canvas(tray(rng, *frame), len(sprites))
        inset = min(frame) * 0.1
        return canvas if _strew(canvas, rng, sprites, shrink * 0.85, inset) else None
    pixels, wall = box_back(rng, *frame)
    canvas = Canvas(pixels, len(sprites))
    (left, front), (right, floor) = wall[0], wall[2]
    sole = front + (floor - front) * float(rng.uniform(0.3, 0.7))
    room = (left + 4, right - 4, sole - frame[1] * 0.03)
    _stand(canvas, rng, list(enumerate(sprites)), sole, room, shrink)
    canvas.cover(lambda picture: box_front(picture, wall, rng))
    return canvas


def _collage(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    """Photos of one product each, side by side without gaps."""
    columns, rows = _grid(len(sprites), frame)
    canvas = Canvas(paper(rng, *frame), len(sprites))
    for index, sprite in enumerate(sprites):
        row, column = divmod(index, columns)
        last = columns if row < rows - 1 else len(sprites) - row * columns
        x0, x1 = (frame[0] * place // last for place in (column, column + 1))
        y0, y1 = (frame[1] * place // rows for place in (row, row + 1))
        alone = (_on_white, _plain, _shelved)[int(rng.integers(3))]
        tile = alone(rng, (x1 - x0, y1 - y0), [sprite], shrink)
        if tile is None:
            return None
        canvas.pixels[y0:y1, x0:x1] = tile.pixels
        canvas.owner[y0:y1, x0:x1][tile.owner == 0] = index
        canvas.whole[index] = tile.whole[0]
    return canvas


def _grid(count: int, frame: Frame) -> tuple[int, int]:
    """Columns and rows of a collage; its last row may hold fewer, wider photos."""
    if count <= 3:
        return (count, 1) if frame[0] >= frame[1] else (1, count)
    return -(-count // 2), 2


def _stickered(
    rng: np.random.Generator, frame: Frame, sprites: Sequence[Sprite], shrink: float
) -> Canvas | None:
    """Price stickers on products, and a promotion in a corner."""
    canvas = _SCENES["plain" if rng.random() < 0.5 else "white"](rng, frame, sprites, shrink)
    boxes = None if canvas is None else canvas.boxes()
    if canvas is None or boxes is None:
        return None
    for x0, y0, x1, y1 in boxes:
        reach = min(x1 - x0, y1 - y0) * float(rng.uniform(0.14, 0.24))
        x = float(rng.uniform(x0 + reach, x1 - reach))
        y = float(rng.uniform(y0 + reach, y1 - reach))
        # It sticks on the product and belongs to it.
        _price(canvas.pixels, rng, x, y, reach)
    if rng.random() < 0.6:
        wide, tall = frame
        reach = min(frame) * float(rng.uniform(0.08, 0.12))
        x = reach * 1.1 if rng.random() < 0.5 else wide - reach * 1.1
        y = reach * 1.1 if rng.random() < 0.5 else tall - reach * 1.1
        canvas.cover(lambda picture: _price(picture, rng, x, y, reach))
    return canvas


def _price(picture: Picture, rng: np.random.Generator, x: float, y: float, reach: float) -> None:
    colours: tuple[Colour, ...] = ((250, 230, 60), (240, 70, 60), (255, 255, 255), (80, 190, 90))
    colour = colours[int(rng.integers(len(colours)))]
    form = int(rng.integers(3))
    outline: Points = (
        icon("sun", x, y, 2 * reach)[0],
        ellipse(x, y, reach, reach),
        rectangle(x - reach, y - reach * 0.6, x + reach, y + reach * 0.6),
    )[form]
    panel(picture, outline, colour, 2)
    texts = (f"{rng.integers(1, 9)},{rng.integers(10, 99)} €", f"-{rng.integers(1, 7)}0 %", "NEU")
    write(picture, texts[int(rng.integers(3))], x, y, reach * 1.5, reach * 0.7, INK)


def _graded(pixels: Picture, scene: str, rng: np.random.Generator) -> Picture:
    """The print's paper and ink: a tint, a little grain, sometimes a faded or dark page."""
    page = pixels.astype(np.float32)
    if scene != "white":
        page *= rng.normal(1, 0.05, 3).astype(np.float32) * np.float32(rng.uniform(0.8, 1.06))
        if rng.random() < 0.2:
            grey = page.mean(axis=2, keepdims=True)
            page = grey + (page - grey) * np.float32(rng.uniform(0.5, 0.8))
    page += rng.normal(0, rng.uniform(0.5, 4), (*page.shape[:2], 1)).astype(np.float32)
    return np.asarray(np.clip(page, 0, 255), np.uint8)


_SCENES: dict[str, Compose] = {
    "plain": _plain,
    "white": _on_white,
    "collage": _collage,
    "hand": _held,
    "shelf": _shelved,
    "box": _boxed,
    "border": _cut,
    "stickers": _stickered,
}

SCENES = tuple(_SCENES)
"""Names of the kinds of scene."""

HANDS = 2
"""Products that a photo of kind `hand` shows at most."""
