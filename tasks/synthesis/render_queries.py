"""Draws composed queries: a bundle photo of gallery products, and a seller's title of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.base.params import Cutouts, Params
from tasks.data.composed_queries import JUNK
from tasks.synthesis.arrange_given_products import bundle_of
from tasks.synthesis.cutouts import CERTAIN, cut_out, shrink
from tasks.synthesis.products_to_paste import Sprite, sprite_of
from tasks.synthesis.random_choice import choose
from unbundle.vision.imaging import Photo, open_photo

SIDE = 512
"""Pixels of a composed photo's longer side: local features need some, files should stay small."""

PRODUCT_SIDE = 384
"""Pixels of a pasted product's photo."""

NAMED = 2 / 3
"""Share of the products that a title names."""

KEPT_WORDS = 0.7
"""Share of a product's words that another seller's title has, too."""

TRIES = 5
"""Photos drawn for a query before it is left out, since no product found room in any."""


@dataclass(frozen=True)
class Stock:
    """What queries are composed of.

    Attributes:
        catalogue: folder that images are relative to.
        photos: the gallery's rows by product.
        rooms: for backgrounds.
        params: `compose_queries`, and `detect` for cut-outs.
    """

    catalogue: Path
    photos: Mapping[str, pd.DataFrame]
    rooms: Sequence[Photo]
    params: Params


def draw_query(
    stock: Stock, products: Sequence[str], random: np.random.Generator
) -> tuple[Photo, dict[str, Any]] | None:
    """A bundle photo of some of the products, and what the manifest says of it.

    Args:
        stock: the gallery.
        products: labels that may be shown, each at most once.
        random: the same state gives the same query.

    Returns:
        The photo, uint8 RGB, and of the manifest's columns caption, labels, kind, boxes, width,
        height and `junk`; None where no product found room.
    """
    most = min(stock.params.compose_queries.max_products, len(products))
    settings = stock.params.detect.cutouts.model_copy(update={"image_size": PRODUCT_SIDE})
    for _ in range(TRIES):
        count = int(random.integers(1, most + 1))
        chosen = [products[place] for place in random.permutation(len(products))[:count]]
        rows = [choose(random, stock.photos[one].to_dict("records")) for one in chosen]
        files = [stock.catalogue / row["image"] for row in rows]
        sprites = [product_sprite(file, settings) for file in files]
        photo, boxes = bundle_of(sprites, stock.rooms, SIDE, random)
        shown = [(*pair, box) for *pair, box in zip(chosen, rows, boxes, strict=True) if box]
        if shown:
            break
    else:
        return None
    return photo, {
        "caption": mixed_title([row["caption"] for _, row, _ in shown], random),
        "labels": [product for product, _, _ in shown],
        "kind": "single" if len(shown) == 1 else "multi",
        "boxes": [[round(side) for side in box] for _, _, box in shown],
        "width": photo.shape[1],
        "height": photo.shape[0],
        JUNK: [row["id"] for product, row, _ in shown if len(stock.photos[product]) > 1],
    }


def product_sprite(file: Path, settings: Cutouts) -> Sprite:
    """The product of a gallery photo, or the whole photo where it cannot be cut out surely."""
    photo = open_photo(file)
    cutout = cut_out(photo, settings, CERTAIN)
    if cutout is not None:
        return sprite_of(cutout)
    whole = shrink(photo, settings.image_size)
    return Sprite(whole, np.full(whole.shape[:2], 255, np.uint8))


def mixed_title(titles: Sequence[str], random: np.random.Generator) -> str:
    """A seller's title of several products: most of them, each by some of its words.

    Words stand between spaces; a title of one word is kept whole, whatever its script.
    """
    parts = []
    for title in titles:
        words = title.split()
        kept = [word for word in words if random.random() < KEPT_WORDS] or words[:1]
        if random.random() < NAMED:
            parts.append(" ".join(kept))
    return " ".join(part for part in parts if part)
