"""Bundle photos with free boxes: sprites and photos arranged at random, as sellers arrange them.

Three layouts: products scattered over a background, photos side by side as a collage, and a
catalogue photo as it is. Scattered products also stand on shelves and in boxes or are held. A box
is the extent of a product, also where others hide it, up to the photo's border and the wall of the
box that hides its foot; a product of which little is left to see has no box.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tasks.base.params import PseudoBundles
from tasks.synthesis.clutter import add_badge, scatter_clutter
from tasks.synthesis.collages_of_whole_photos import collage, photograph
from tasks.synthesis.pasting import COLOUR, Placed, paste, transform
from tasks.synthesis.products_to_paste import Sprite
from tasks.synthesis.pseudo_bundle_backgrounds import draw_background
from tasks.synthesis.pseudo_bundle_material import MIN_VISIBLE, Box, Material, Pixels
from tasks.synthesis.random_choice import choose
from tasks.synthesis.shelves_boxes_hands import (
    add_box,
    add_shelf,
    close_box,
    close_fingers,
    reach_in,
)
from unbundle.vision.boxes import Boxes, areas, intersections
from unbundle.vision.imaging import PADDING, Photo

Spot = tuple[int, int]
"""Where a sprite's top left corner goes: x, y in pixels."""

MIN_ASPECT = 0.5
"""Shorter to longer side of a bundle photo, at least."""

MAX_HELD = 2
"""Products in a bundle that is held, each in a hand of its own."""

MIN_SCALE, MAX_SCALE = 0.45, 1.05
"""A product's size over the photo's, if it is alone; shrinks with the root of their number."""

SCALE_JITTER = 0.4
"""Of a product's size around its bundle's."""

OVERLAPS = 0.75
"""Share of bundles whose products may overlap."""

MAX_OVERLAP = 0.65
"""Of the smaller box, how much of it overlaps: what is covered more has nearly no pixels left."""

ROTATION = 12.0
"""Degrees, standard deviation: products stand, more or less."""

BLUR, NOISE, JPEG = 0.15, 0.4, 0.4
"""Shares of pictures that are blurred, noisy, and saved with JPEG's blocks, each by itself."""

TRIES = 12
"""Random places tried for a product before it is left out."""

BEYOND = 0.2
"""Share of bundles whose products may reach over the border, and how far, of their sides."""


@dataclass(frozen=True)
class PseudoBundle:
    """A letterboxed picture and the products in it.

    Attributes:
        image: RGB uint8 `[image_size, image_size, 3]`.
        boxes: `[N, 4]` float32, in pixels of `image`.
    """

    image: Photo
    boxes: Boxes


def compose(
    material: Material, image_size: int, params: PseudoBundles, random: np.random.Generator
) -> PseudoBundle:
    """Make one pseudo-bundle; the same generator state gives the same bundle."""
    long, short = image_size, int(image_size * random.uniform(MIN_ASPECT, 1.0))
    if random.random() < 0.4:
        short = image_size
    width, height = (long, short) if random.random() < 0.5 else (short, long)
    draw = random.random()
    if draw < params.collage and (material.photos or material.cutouts):
        canvas, boxes = collage(material, width, height, random)
    elif draw < params.collage + params.single and material.cutouts:
        canvas, boxes = photograph(material, width, height, random)
    else:
        canvas, boxes = _scatter(material, width, height, params, random)
    if random.random() < params.badges:
        canvas = add_badge(canvas, random)
    image = np.full((image_size, image_size, 3), round(PADDING * 255), np.uint8)
    image[:height, :width] = photographed(canvas, random)
    return PseudoBundle(image, np.asarray(boxes, np.float32).reshape(-1, 4))


def _scatter(
    material: Material, width: int, height: int, params: PseudoBundles, random: np.random.Generator
) -> tuple[Pixels, list[Box]]:
    canvas = draw_background(material.rooms, width, height, random)
    if random.random() < params.distractors:
        canvas = scatter_clutter(canvas, random)
    draw = random.random()
    if draw < params.shelves:
        canvas, placed = _on_shelf(canvas, material, params, random)
    elif draw < params.shelves + params.open_boxes:
        canvas, placed = _in_box(canvas, material, params, random)
    elif draw < params.shelves + params.open_boxes + params.hands:
        canvas, placed = _held(canvas, material, params, random)
    else:
        canvas, placed = _loose(canvas, material, params, random)
    shown = [one for one in placed if one.visible.sum() >= MIN_VISIBLE * one.pixels]
    return canvas, [one.box for one in shown]


Arranged = tuple[Pixels, list[Placed]]


def _loose(
    canvas: Pixels, material: Material, params: PseudoBundles, random: np.random.Generator
) -> Arranged:
    """On a ground: in a row, anywhere, or seen from above and so at any angle."""
    height, width = canvas.shape[:2]
    count = int(random.integers(1, params.max_products + 1))
    limit = overlap_limit(MAX_OVERLAP, random)
    flat = random.random() < params.flat_lays
    sprites = _sprites(material, count, np.sqrt(width * height), flat, params, random)
    if not flat and random.random() < params.rows:
        floor = height * random.uniform(0.6, 1.0)
        spots = in_row(sprites, width, height, floor, limit, random)
    else:
        spots = anywhere(sprites, width, height, limit, random)
    return canvas, paste_all(canvas, spots, random)


def _on_shelf(
    canvas: Pixels, material: Material, params: PseudoBundles, random: np.random.Generator
) -> Arranged:
    height, width = canvas.shape[:2]
    canvas, floors = add_shelf(canvas, random)
    limit = overlap_limit(MAX_OVERLAP, random)
    placed: list[Placed] = []
    for floor in floors:
        count = int(random.integers(1, params.max_products // len(floors) + 1))
        room = np.sqrt(width * floors[0])
        drawn = _sprites(material, count, room, False, params, random)
        # What is taller than the room between two boards stands elsewhere.
        sprites = (sprite for sprite in drawn if sprite.alpha.shape[0] <= floors[0])
        spots = in_row(sprites, width, height, floor, limit, random)
        placed += paste_all(canvas, spots, random)
    return canvas, placed


def _in_box(
    canvas: Pixels, material: Material, params: PseudoBundles, random: np.random.Generator
) -> Arranged:
    """In an open box, whose front wall hides the products' feet."""
    height, width = canvas.shape[:2]
    canvas, wall = add_box(canvas, random)
    count = int(random.integers(1, params.max_products + 1))
    edge, bottom = int(wall[0, 1]), int(wall[2, 1])
    floor = min(edge + (bottom - edge) * random.uniform(0.0, 0.9), height)
    drawn = _sprites(material, count, np.sqrt(width * edge), False, params, random)
    sprites = (sprite for sprite in drawn if sprite.alpha.shape[0] <= floor)
    spots = in_row(sprites, width, height, floor, overlap_limit(MAX_OVERLAP, random), random)
    placed = paste_all(canvas, spots, random)
    canvas, hidden = close_box(canvas, wall, random)
    for number, one in enumerate(placed):
        one.visible[hidden] = False
        x0, y0, x1, y1 = one.box
        if y0 < edge and wall[0, 0] <= (x0 + x1) / 2 <= wall[1, 0]:
            placed[number] = replace(one, box=(x0, y0, x1, min(y1, float(edge))))
    return canvas, placed


def _held(
    canvas: Pixels, material: Material, params: PseudoBundles, random: np.random.Generator
) -> Arranged:
    """Held in a hand, or each in its own."""
    height, width = canvas.shape[:2]
    count = int(random.integers(1, MAX_HELD + 1))
    sprites = _sprites(material, count, np.sqrt(width * height), False, params, random)
    placed: list[Placed] = []
    for sprite, spot in anywhere(sprites, width, height, 0.0, random):
        down, across = sprite.alpha.shape
        box = (spot[0], spot[1], spot[0] + across, spot[1] + down)
        canvas, hand = reach_in(canvas, box, random)
        placed += paste_all(canvas, [(sprite, spot)], random)
        canvas = close_fingers(canvas, hand, box, random)
    return canvas, placed


def paste_all(
    canvas: Pixels, spots: Iterable[tuple[Sprite, Spot]], random: np.random.Generator
) -> list[Placed]:
    """Paste sprites one after the other; each hides what is below it."""
    placed: list[Placed] = []
    for sprite, spot in spots:
        fresh = paste(canvas, sprite, spot, random)
        for before in placed:
            before.visible[fresh.visible] = False
        placed.append(fresh)
    return placed


def overlap_limit(most: float, random: np.random.Generator) -> float:
    """How much products may overlap in one bundle: up to `most` of a box, in others not at all."""
    return random.uniform(0, most) if random.random() < OVERLAPS else 0.0


def _sprites(
    material: Material,
    count: int,
    room: float,
    flat: bool,
    params: PseudoBundles,
    random: np.random.Generator,
) -> Iterator[Sprite]:
    """A bundle's products, sized for a picture of `room` pixels squared; `flat` ones are turned."""
    common = random.uniform(MIN_SCALE, MAX_SCALE) / np.sqrt(count)
    repeated = _pick(material, params, random) if random.random() < params.repeats else None
    for _ in range(count):
        size = common * random.uniform(1 - SCALE_JITTER, 1 + SCALE_JITTER)
        angle = random.uniform(0, 360) if flat else random.normal(0, ROTATION)
        sprite = repeated or _pick(material, params, random)
        yield transform(sprite, size * room, angle, random)


def _pick(material: Material, params: PseudoBundles, random: np.random.Generator) -> Sprite:
    draw = random.random()
    if material.photos and draw < params.tiles:
        photo = choose(random, material.photos)
        return Sprite(photo, np.full(photo.shape[:2], 255, np.uint8))
    drawn = not material.sprites or draw < params.tiles + params.drawn
    pool = material.drawn if drawn and material.drawn else material.sprites
    return choose(random, pool)


def in_row(
    sprites: Iterable[Sprite],
    width: int,
    height: int,
    floor: float,
    limit: float,
    random: np.random.Generator,
) -> Iterator[tuple[Sprite, Spot]]:
    """Side by side on a floor, as sets are shown; neighbours may hide each other's edges."""
    gap = random.uniform(-limit / 2, 0.25)
    mirrored = random.random() < 0.5
    left = width * random.uniform(0.0, 0.35)
    for sprite in sprites:
        down, across = sprite.alpha.shape
        if left + across * BEYOND > width:
            return
        foot = max(floor + random.normal(0, 0.02) * height, min(down, height))
        x = width - left - across if mirrored else left
        yield sprite, (round(x), round(foot - down))
        left += across * (1 + gap * random.uniform(0.5, 1))


def anywhere(
    sprites: Iterable[Sprite], width: int, height: int, limit: float, random: np.random.Generator
) -> Iterator[tuple[Sprite, Spot]]:
    """Places at random where overlaps stay below `limit`; what finds no place is left out."""
    # A few products reach over the border.
    slack = BEYOND if random.random() < BEYOND else 0.0
    taken = np.zeros((0, 4), np.float32)
    for sprite in sprites:
        down, across = sprite.alpha.shape
        x = random.uniform(-slack * across, max(width - across * (1 - slack), 1.0), TRIES)
        y = random.uniform(-slack * down, max(height - down * (1 - slack), 1.0), TRIES)
        tried = np.stack([x, y, x + across, y + down], axis=1).astype(np.float32)
        smaller = np.minimum(areas(tried)[:, None], areas(taken)[None])
        free = np.flatnonzero((intersections(tried, taken) <= limit * smaller).all(axis=1))
        if len(free):
            first = int(free[0])
            taken = np.concatenate([taken, tried[first : first + 1]])
            yield sprite, (round(x[first]), round(y[first]))


def photographed(canvas: Pixels, random: np.random.Generator) -> Photo:
    """Camera and shop: light, blur, noise and JPEG blocks."""
    height, width = canvas.shape[:2]
    canvas *= np.float32(1 + random.normal(0, COLOUR))
    if random.random() < BLUR:
        blurred = cv2.GaussianBlur(canvas, (0, 0), random.uniform(0.4, 1.2))
        canvas = np.asarray(blurred, np.float32)
    if random.random() < NOISE:
        # Grey grain is cheaper than colour and what small sensors show most.
        noise = random.standard_normal((height, width, 1), np.float32)
        canvas = canvas + noise * np.float32(random.uniform(2, 14))
    finished = np.clip(canvas, 0, 255).astype(np.uint8)
    if random.random() < JPEG:
        quality = int(random.integers(35, 95))
        coded = cv2.imencode(".jpg", finished, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        finished = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return finished
