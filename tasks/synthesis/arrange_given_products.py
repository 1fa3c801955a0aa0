"""A bundle photo of given products, each with its box: a query whose answer is known."""

from collections.abc import Sequence

import numpy as np

from tasks.synthesis.clutter import scatter_clutter
from tasks.synthesis.pasting import transform
from tasks.synthesis.products_to_paste import Sprite
from tasks.synthesis.pseudo_bundle_backgrounds import draw_background
from tasks.synthesis.pseudo_bundle_material import MIN_VISIBLE, Box
from tasks.synthesis.pseudo_bundles import (
    MIN_ASPECT,
    ROTATION,
    SCALE_JITTER,
    anywhere,
    in_row,
    overlap_limit,
    paste_all,
    photographed,
)
from unbundle.vision.imaging import Photo

SIZE = 0.75
"""A product's size over the photo's, if it is alone; shrinks with the root of their number."""

MAX_OVERLAP = 0.3
"""Of the smaller box: people photograph a bundle so that every product can be seen."""

ROWS = 0.6
"""Share of bundles that stand in a row; the others lie anywhere."""

CLUTTERED = 0.3
"""Share of backgrounds with lines, flecks or words."""


def bundle_of(
    products: Sequence[Sprite],
    rooms: Sequence[Photo],
    side: int,
    random: np.random.Generator,
) -> tuple[Photo, list[Box | None]]:
    """Photograph some products together, in a row or anywhere, none of them mirrored.

    Args:
        products: what is shown, each once.
        rooms: photos for backgrounds.
        side: pixels of the longer side.
        random: the same state gives the same photo.

    Returns:
        The photo, uint8 RGB, and by product its box in pixels, None where too little of it shows.
    """
    width, height = side, round(side * random.uniform(MIN_ASPECT, 1.0))
    if random.random() < 0.5:
        width, height = height, width
    canvas = draw_background(rooms, width, height, random)
    if random.random() < CLUTTERED:
        canvas = scatter_clutter(canvas, random)
    size = SIZE * np.sqrt(width * height / len(products))
    sprites = [
        transform(
            product,
            size * random.uniform(1 - SCALE_JITTER, 1),
            random.normal(0, ROTATION),
            random,
            mirrored=0.0,
        )
        for product in products
    ]
    limit = overlap_limit(MAX_OVERLAP, random)
    if random.random() < ROWS:
        floor = height * random.uniform(0.7, 1.0)
        spots = list(in_row(iter(sprites), width, height, floor, limit, random))
    else:
        spots = list(anywhere(iter(sprites), width, height, limit, random))
    # What finds no room is not among the spots; sprites are told apart as objects.
    places = {id(sprite): place for place, sprite in enumerate(sprites)}
    boxes: list[Box | None] = [None] * len(products)
    pasted = paste_all(canvas, spots, random)
    for (sprite, _), one in zip(spots, pasted, strict=True):
        if one.visible.sum() >= MIN_VISIBLE * one.pixels:
            boxes[places[id(sprite)]] = one.box
    return photographed(canvas, random), boxes
