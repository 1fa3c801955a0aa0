"""Gathers the material of pseudo-bundles from a catalogue's training photos: cut-outs, sprites."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.base.params import Detect
from tasks.base.progress import track
from tasks.data.splits import single_photos
from tasks.synthesis.cutouts import CERTAIN, Cutout, cut_out, shrink
from tasks.synthesis.products_to_paste import draw_shape, sprite_of
from tasks.synthesis.pseudo_bundle_material import Material
from unbundle.base.errors import UserError
from unbundle.vision.imaging import Photo, open_photo


def gather_material(
    catalogue: Path, manifest: pd.DataFrame, settings: Detect, seed: int
) -> tuple[Material, dict[str, Any]]:
    """Cut products out of train photos and draw what is made up.

    Returns:
        The material of pseudo-bundles, and counts for the metrics: by method how many photos it
        `tried` and `cut`, in all how many `photos` were tried and the share `accepted`.

    Raises:
        UserError: no train photo is of a single product or of unknown kind.
    """
    images = single_photos(manifest)["image"].tolist()
    if not images:
        raise UserError(
            "manifest: no row of split train and kind single; the detector learns from such photos"
        )
    random = np.random.default_rng(seed)
    order = random.permutation(len(images))[: settings.cutouts.candidates]
    cutouts, refused, counts = _cut(catalogue, [images[row] for row in order], settings)
    photos = [cutout.photo for cutout in cutouts] + refused
    side = settings.cutouts.image_size * 2 // 3
    sizes = settings.pseudo_bundles
    material = Material(
        cutouts=[cutout for cutout in cutouts if cutout.method in CERTAIN],
        sprites=[sprite_of(cutout) for cutout in cutouts],
        drawn=[draw_shape(photos, side, random) for _ in range(sizes.drawn_sprites)],
        photos=refused[: sizes.photos],
        rooms=photos[: sizes.photos],
    )
    return material, counts


def _cut(
    catalogue: Path, images: Sequence[str], settings: Detect
) -> tuple[list[Cutout], list[Photo], dict[str, Any]]:
    """Cut-outs, the photos that every method refused, and how many each method tried and cut.

    A less sure method sees a photo only when the surer ones have not given enough in all.
    """
    cutouts: list[Cutout] = []
    counts: dict[str, Any] = {}
    left = list(images)
    for method in settings.cutouts.methods:
        refused: list[str] = []
        before, tried = len(cutouts), 0
        for image in track(left, f"cutting products out: {method}"):
            if len(cutouts) == settings.cutouts.count:
                break
            tried += 1
            found = cut_out(open_photo(catalogue / image), settings.cutouts, [method])
            if found is None:
                refused.append(image)
            else:
                cutouts.append(found)
        counts[method] = {"tried": tried, "cut": len(cutouts) - before}
        left = refused
    counts["photos"] = counts[settings.cutouts.methods[0]]["tried"]
    counts["accepted"] = len(cutouts) / counts["photos"]
    # Photos that not every method has seen may well show a product that can be cut out.
    unknown = [] if len(cutouts) == settings.cutouts.count else left
    photos = [open_photo(catalogue / image) for image in unknown[: settings.pseudo_bundles.photos]]
    return cutouts, [shrink(photo, settings.cutouts.image_size) for photo in photos], counts
