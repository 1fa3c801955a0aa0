"""Stage `compose_queries`: labelled queries of gallery photos, where nobody labelled any.

    python -m tasks.compose_queries

A query shows some products, cut out of their photos and pasted into a bundle photo, and a seller's
title that names most of them in some of their words. What it shows is known, so that weights, rank
fusion and the open-set score can be fitted on one half of the products and measured, provisionally,
on the other. Where a product has several photos, another one than the pasted has to be found.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tasks.base.params import Params
from tasks.base.progress import console, track
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import QUERIES
from tasks.data.composed_queries import PREFIX, lacks_queries, write_composed
from tasks.data.manifest import read_manifest
from tasks.data.splits import products_of, rows_of
from tasks.synthesis.cutouts import shrink
from tasks.synthesis.render_queries import PRODUCT_SIDE, Stock, draw_query
from unbundle.base.atomic import atomic_folder
from unbundle.vision.imaging import open_photo

QUALITY = 92
"""Of its JPEG."""

ROOMS = 16
"""Training photos for backgrounds."""


def compose_queries(workspace: Workspace, params: Params) -> None:
    """Write `data/composed/`; without a query where people labelled some, or params want none.

    Raises:
        UserError: there is no manifest.
    """
    manifest = read_manifest(workspace.manifest)
    wanted = params.compose_queries.count > 0 and lacks_queries(manifest)
    with atomic_folder(workspace.composed) as folder:
        (folder / "images").mkdir()
        rows = list(_queries(workspace, manifest, folder, params)) if wanted else []
        write_composed(folder, rows)
    if wanted:
        console.print(
            f"  no query is labelled: {len(rows)} composed of the gallery's photos fit and measure,"
            f" provisionally → {workspace.composed}"
        )
    else:
        console.print("  nothing composed: labelled queries fit and measure")


def _queries(
    workspace: Workspace, manifest: pd.DataFrame, folder: Path, params: Params
) -> Iterator[dict[str, Any]]:
    """The rows of all queries; their images are written into `folder`."""
    gallery, train = rows_of(manifest, "gallery"), rows_of(manifest, "train")
    labels = pd.Series(products_of(gallery), gallery.index)
    rooms = [
        shrink(open_photo(workspace.catalogue / image), PRODUCT_SIDE)
        for image in train["image"].tolist()[:ROOMS]
    ]
    photos = {str(product): rows for product, rows in gallery.groupby(labels)}
    stock = Stock(workspace.catalogue, photos, rooms, params)
    random = np.random.default_rng(params.seed)
    products = random.permutation(sorted(photos)).tolist()
    # Nothing is measured on products that it was fitted on; a single one has to do for both.
    half = max(1, len(products) // 2)
    halves = {"dev": products[:half], "test": products[half:] or products}
    names = [(split, number) for split in QUERIES for number in range(params.compose_queries.count)]
    for split, number in track(names, "composing queries"):
        drawn = draw_query(stock, halves[split], random)
        if drawn is None:
            continue
        photo, facts = drawn
        name = f"{PREFIX}{split}-{number:05d}"
        image = f"images/{name}.jpg"
        Image.fromarray(photo).save(folder / image, quality=QUALITY)
        place = os.path.relpath(workspace.composed / image, workspace.catalogue)
        yield {"id": name, "image": place, "split": split, **facts}


if __name__ == "__main__":
    run_stage(compose_queries)
