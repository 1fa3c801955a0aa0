"""Views: a product pasted into a made-up bundle photo and cropped by an inexact box."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.base.params import Cutouts, Params, Views
from tasks.synthesis.clutter import scatter_clutter
from tasks.synthesis.cutouts import CERTAIN, cut_out, shrink
from tasks.synthesis.pasting import paste, transform
from tasks.synthesis.products_to_paste import Sprite, sprite_of
from tasks.synthesis.pseudo_bundle_backgrounds import draw_background
from tasks.synthesis.pseudo_bundle_material import Pixels
from tasks.synthesis.pseudo_bundles import (
    ROTATION,
    SCALE_JITTER,
    TRIES,
    overlap_limit,
    photographed,
)
from tasks.synthesis.random_choice import choose
from unbundle.vision.boxes import Boxes, areas, intersections
from unbundle.vision.imaging import Photo, crops, open_photo

MARGIN = 0.5
"""Of the product's longer side: how much of the bundle photo is drawn around it."""

NEIGHBOURS = 3
"""At most, around the product."""

MAX_OVERLAP = 0.5
"""Of the product's box, where neighbours overlap it: more than half of it stays to be known by."""

JITTER = 0.04
"""Standard deviation of a box's edges, of its sides: a detector's boxes err as much."""


@dataclass(frozen=True)
class Scenery:
    """What a scene is made of.

    Attributes:
        products: neighbours are chosen from these.
        rooms: photos for backgrounds.
        views: how large a product is seen.
        distractors: share of backgrounds with clutter.
    """

    products: Sequence[Sprite]
    rooms: Sequence[Photo]
    views: Views
    distractors: float


def seen(
    product: Sprite, scenery: Scenery, image_size: int, random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Paste a product into a scene, small, turned and partly hidden, and crop it by an inexact box.

    Args:
        product: what is shown; it is not mirrored, since packaging never is.
        scenery: neighbours, backgrounds and how large a product is seen.
        image_size: of the crop, pixels.
        random: the same state gives the same scene.

    Returns:
        The crop, uint8 RGB `[image_size, image_size, 3]`, and its geometry `[5]`
        (see `unbundle.vision.imaging.geometry`) in a bundle photo of which the scene is a part.
    """
    views = scenery.views
    size = image_size * random.uniform(views.least, views.most)
    own = transform(product, size, random.normal(0, ROTATION), random, mirrored=0.0)
    down, across = own.alpha.shape
    margin = round(MARGIN * max(down, across))
    width, height = across + 2 * margin, down + 2 * margin
    canvas = draw_background(scenery.rooms, width, height, random)
    if random.random() < scenery.distractors:
        canvas = scatter_clutter(canvas, random)
    behind, before = _split(int(random.integers(NEIGHBOURS + 1)), random)
    box = np.array([margin, margin, margin + across, margin + down], np.float32)
    _add(canvas, behind, size, box, scenery, random)
    paste(canvas, own, (margin, margin), random)
    _add(canvas, before, size, box, scenery, random)
    photo = photographed(canvas, random)
    sides = np.array([across, down] * 2, np.float32)
    erring = box + random.normal(0, JITTER, 4).astype(np.float32) * sides
    erring = np.clip(erring, 0, [width, height, width, height]).astype(np.float32)
    return crops(photo, erring[None], image_size)[0], _place(across, down, views, random)


def _split(count: int, random: np.random.Generator) -> tuple[int, int]:
    before = int(random.integers(count + 1))
    return count - before, before


def _add(
    canvas: Pixels,
    count: int,
    size: float,
    box: NDArray[np.float32],
    scenery: Scenery,
    random: np.random.Generator,
) -> None:
    """Paste neighbours that overlap the product's box no more than `MAX_OVERLAP`."""
    height, width = canvas.shape[:2]
    limit = overlap_limit(MAX_OVERLAP, random)
    for _ in range(count):
        scale = size * random.uniform(1 - SCALE_JITTER, 1 + SCALE_JITTER)
        angle = random.normal(0, ROTATION)
        other = transform(choose(random, scenery.products), scale, angle, random)
        down, across = other.alpha.shape
        x, y = random.uniform(-across, width, TRIES), random.uniform(-down, height, TRIES)
        tried = np.stack([x, y, x + across, y + down], axis=1).astype(np.float32)
        shared = intersections(tried, box[None])[:, 0]
        free = np.flatnonzero(shared <= limit * areas(box[None])[0])
        if len(free):
            paste(canvas, other, (round(x[free[0]]), round(y[free[0]])), random)


def _place(
    across: int, down: int, views: Views, random: np.random.Generator
) -> NDArray[np.float32]:
    """A place of the product's proportions somewhere in a bundle photo."""
    share = random.uniform(views.least, views.most) / max(across, down)
    width, height = across * share, down * share
    x, y = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
    return np.array([x, y, x + width, y + height, width * height], np.float32)


Drawn = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Crops of a shard's views, and their places."""


def draw_views(
    files: Sequence[Path],
    boxes: Boxes,
    params: Params,
    random: np.random.Generator,
    threads: int,
) -> Drawn:
    """Draw `views.count` views of each photo's product among those of the other photos.

    Args:
        files: of N photos.
        boxes: `[N, 4]` of their products, in pixels.
        params: `detect` for cut-outs and scenes, `views`, `features.image_size`.
        random: that all draws come from.
        threads: that cut out; 0: as many as cores.
    """
    # OpenCV releases the interpreter's lock while it cuts.
    with ThreadPoolExecutor(threads or None) as pool:
        pairs = list(pool.map(partial(_product, params=params.detect.cutouts), files, boxes))
    products = [product for product, _ in pairs]
    bundles = params.detect.pseudo_bundles
    rooms = [room for _, room in pairs][: bundles.photos]
    scenery = Scenery(products, rooms, params.views, bundles.distractors)
    size = params.features.image_size
    shown = [
        seen(product, scenery, size, random)
        for product in products
        for _ in range(params.views.count)
    ]
    return np.stack([crop for crop, _ in shown]), np.stack([place for _, place in shown])


def _product(file: Path, box: NDArray[np.float32], params: Cutouts) -> tuple[Sprite, Photo]:
    """What a photo shows, and the photo, scaled down; its box as it is where it cannot be cut."""
    photo = open_photo(file)
    cutout = cut_out(photo, params, CERTAIN)
    if cutout is not None:
        return sprite_of(cutout), cutout.photo
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    part = shrink(photo[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], params.image_size)
    return Sprite(part, np.full(part.shape[:2], 255, np.uint8)), shrink(photo, params.image_size)
