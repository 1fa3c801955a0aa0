"""Views: a product pasted into a made-up bundle photo and cropped by an inexact box."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.base.params import Cutouts, Params, PseudoBundles, Views
from tasks.synthesis.backgrounds import draw_background
from tasks.synthesis.clutter import scatter_clutter
from tasks.synthesis.cutouts import CERTAIN, cut_out, shrink
from tasks.synthesis.pasting import paste, transform
from tasks.synthesis.pseudo_bundle_material import Pixels
from tasks.synthesis.pseudo_bundles import TRIES, photographed
from tasks.synthesis.random_choice import choose
from tasks.synthesis.sprites import Sprite, sprite_of
from unbundle.vision.boxes import Boxes, areas, intersections
from unbundle.vision.imaging import Photo, crops, open_photo


@dataclass(frozen=True)
class Scenery:
    """What a scene is made of.

    Attributes:
        products: neighbours are chosen from these.
        rooms: photos for backgrounds.
        views: how a product is seen.
        bundles: how it is pasted and photographed.
    """

    products: Sequence[Sprite]
    rooms: Sequence[Photo]
    views: Views
    bundles: PseudoBundles


def seen(
    product: Sprite, scenery: Scenery, side: int, random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Paste a product into a scene, small, turned and partly hidden, and crop it by an inexact box.

    Args:
        product: what is shown; it is not mirrored, since packaging never is.
        scenery: neighbours, backgrounds and how often what happens.
        side: of the crop, pixels.
        random: the same state gives the same scene.

    Returns:
        The crop, uint8 RGB `[side, side, 3]`, and its geometry `[5]` (see
        `unbundle.vision.imaging.geometry`) in a bundle photo of which the scene is a part.
    """
    views, bundles = scenery.views, scenery.bundles.model_copy(update={"mirrored": 0.0})
    size = side * random.uniform(views.least, views.most)
    angle = random.normal(0, bundles.rotation)
    own = transform(product, size, angle, bundles, random)
    down, across = own.alpha.shape
    margin = round(views.margin * max(down, across))
    width, height = across + 2 * margin, down + 2 * margin
    canvas = draw_background(scenery.rooms, width, height, random)
    if random.random() < bundles.distractors:
        canvas = scatter_clutter(canvas, random)
    behind, before = _split(int(random.integers(views.neighbours + 1)), random)
    box = np.array([margin, margin, margin + across, margin + down], np.float32)
    _add(canvas, behind, size, box, scenery, random)
    paste(canvas, own, (margin, margin), bundles, random)
    _add(canvas, before, size, box, scenery, random)
    photo = photographed(canvas, bundles, random)
    sides = np.array([across, down] * 2, np.float32)
    erring = box + random.normal(0, views.jitter, 4).astype(np.float32) * sides
    erring = np.clip(erring, 0, [width, height, width, height]).astype(np.float32)
    return crops(photo, erring[None], side)[0], _place(across, down, views, random)


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
    """Paste neighbours that overlap the product's box no more than `views.max_overlap`."""
    height, width = canvas.shape[:2]
    bundles = scenery.bundles
    limit = (
        random.uniform(0, scenery.views.max_overlap) if random.random() < bundles.overlaps else 0.0
    )
    for _ in range(count):
        scale = size * random.uniform(1 - bundles.scale_jitter, 1 + bundles.scale_jitter)
        angle = random.normal(0, bundles.rotation)
        other = transform(choose(random, scenery.products), scale, angle, bundles, random)
        down, across = other.alpha.shape
        x, y = random.uniform(-across, width, TRIES), random.uniform(-down, height, TRIES)
        tried = np.stack([x, y, x + across, y + down], axis=1).astype(np.float32)
        shared = intersections(tried, box[None])[:, 0]
        free = np.flatnonzero(shared <= limit * areas(box[None])[0])
        if len(free):
            paste(canvas, other, (round(x[free[0]]), round(y[free[0]])), bundles, random)


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
        params: `detect` for cut-outs and scenes, `views`, `features.side`.
        random: that all draws come from.
        threads: that cut out; 0: as many as cores.
    """
    # OpenCV releases the interpreter's lock while it cuts.
    with ThreadPoolExecutor(threads or None) as pool:
        pairs = list(pool.map(partial(_product, params=params.detect.cutouts), files, boxes))
    products = [product for product, _ in pairs]
    rooms = [room for _, room in pairs][: params.detect.pseudo_bundles.photos]
    scenery = Scenery(products, rooms, params.views, params.detect.pseudo_bundles)
    side = params.features.side
    shown = [
        seen(product, scenery, side, random)
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
    part = shrink(photo[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], params.side)
    return Sprite(part, np.full(part.shape[:2], 255, np.uint8)), shrink(photo, params.side)
