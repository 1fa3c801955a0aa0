"""Writes a whole catalogue folder in this style: train, gallery, dev and test."""

import csv
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from .products import Product, list_products
from .scenes import HANDS, SCENES, draw_scene
from .titles import bundle_title, single_title

COLUMNS = (
    "id", "image", "caption", "labels", "split", "kind", "boxes", "brand", "category", "scene",
    "novel",
)  # fmt: skip

UNSEEN = 0.15
"""Share of products that no training photo shows."""

SINGLE_SIDE = 0.8
"""Longer side of a single product's photo, as a share of a bundle's."""

MOST = 5
"""Products in a photo at most."""

SINGLES = {"white": 0.34, "plain": 0.28, "hand": 0.13, "shelf": 0.1, "box": 0.05, "stickers": 0.1}
"""Scenes of training photos of one product, with their shares."""

GALLERY = {"white": 0.75, "plain": 0.25}
"""Scenes of gallery photos: tidier than queries are."""

QUALITY = (82, 95)
"""Of JPEG files."""


@dataclass(frozen=True)
class Size:
    """How large a catalogue is: products, and photos of each kind; `side` in pixels."""

    products: int = 80
    train_single: int = 1000
    train_multi: int = 200
    gallery_per_product: int = 4
    dev: int = 150
    test: int = 0
    side: int = 256


@dataclass(frozen=True)
class _Shot:
    """A photo to be drawn; its number makes its own random generator."""

    number: int
    name: str
    split: str
    scene: str
    products: tuple[int, ...]


def write_catalogue(folder: Path, seed: int, size: Size | None = None, workers: int = 1) -> None:
    """Write `catalogue.csv` and its images.

    Args:
        folder: is made if need be.
        seed: of everything; the same seed writes the same bytes with any number of workers.
        size: how much; None: the whole catalogue, about 1,700 photos.
        workers: processes.
    """
    size = size or Size()
    products = list_products(size.products, UNSEEN, seed)
    shots = list(_plan(products, size, seed))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    draw = partial(_take, folder, products, size, seed)
    if workers == 1:
        rows = [draw(shot) for shot in shots]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            rows = list(pool.map(draw, shots, chunksize=16))
    with (folder / "catalogue.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _plan(products: Sequence[Product], size: Size, seed: int) -> Iterator[_Shot]:
    rng = np.random.default_rng([seed, 1])
    known = [place for place, one in enumerate(products) if not one.novel]
    every = list(range(len(products)))
    number = 0

    def shot(prefix: str, split: str, scene: str, shown: Sequence[int]) -> _Shot:
        nonlocal number
        number += 1
        return _Shot(number, f"{prefix}{number:05d}", split, scene, tuple(shown))

    for place in range(size.train_single):
        yield shot("ts", "train", _draw(SINGLES, rng), [known[place % len(known)]])
    for place in range(size.train_multi):
        scene = SCENES[place % len(SCENES)]
        yield shot("tm", "train", scene, _together(rng, known, 2, scene))
    for product in every:
        for _ in range(size.gallery_per_product):
            yield shot("ga", "gallery", _draw(GALLERY, rng), [product])
    for split, count in (("dev", size.dev), ("test", size.test)):
        for place in range(count):
            scene = SCENES[place % len(SCENES)]
            # Every fifth query of any scene shows one product.
            alone = place // len(SCENES) % MOST == 0
            shown = [every[place % len(every)]] if alone else _together(rng, every, 2, scene)
            yield shot(split[:2], split, scene, shown)


def _draw(shares: dict[str, float], rng: np.random.Generator) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))


def _together(rng: np.random.Generator, pool: Sequence[int], least: int, scene: str) -> list[int]:
    most = HANDS if scene == "hand" else MOST
    count = int(rng.integers(least, most + 1))
    return [pool[place] for place in rng.permutation(len(pool))[:count].tolist()]


def _take(
    folder: Path, products: Sequence[Product], size: Size, seed: int, shot: _Shot
) -> dict[str, str]:
    """Draw and save a photo; its row."""
    rng = np.random.default_rng([seed, 2, shot.number])
    shown = [products[place] for place in shot.products]
    single = len(shown) == 1
    side = round(size.side * (SINGLE_SIDE if single else 1))
    drawn = draw_scene(shot.scene, shown, side, rng)
    image = f"images/{shot.name}.jpg"
    quality = int(rng.integers(*QUALITY))
    Image.fromarray(drawn.pixels).save(folder / image, quality=quality)
    row = {"id": shot.name, "image": image, "split": shot.split}
    row["kind"] = "single" if single else "multi"
    row["caption"] = single_title(shown[0], rng) if single else bundle_title(shown, rng)
    if shot.split == "train":
        return row
    row["labels"] = "#;#".join(one.label for one in shown)
    row["novel"] = str(any(one.novel for one in shown)).lower()
    if shot.split == "gallery":
        return row | {"brand": shown[0].brand.name, "category": shown[0].kind.name}
    return row | {"boxes": json.dumps(drawn.boxes), "scene": shot.scene}
