"""Renders the demo catalogue: draws every product once, then photographs them all."""

import csv
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np

from tasks.base.params import Demo
from tasks.base.progress import track
from tasks.demo.camera_effects import jpeg
from tasks.demo.compose_photo import GROUND_COPIES, Box, Habits, Stock, compose
from tasks.demo.photo_backgrounds import GROUNDS
from tasks.demo.product_pictures import draw_family
from tasks.demo.products import DemoProduct, list_products
from tasks.demo.products_per_photo import Shot, plan_shots
from tasks.demo.titles import bundle_title, single_title
from unbundle.base.atomic import atomic_file

COLUMNS = (
    "id", "image", "caption", "labels", "split", "kind", "boxes",
    "brand", "category", "price", "novel",
)  # fmt: skip

HABITS = {
    "train": Habits(white=0.6, lying=0.25, sticker=0.25),
    "gallery": Habits(white=0.75, lying=0.0, sticker=0.12),
    "dev": Habits(white=0.35, lying=0.25, sticker=0.3),
    "test": Habits(white=0.35, lying=0.25, sticker=0.3),
}
"""By split: the gallery is tidy, queries are what sellers upload."""

GROUND_STREAM, PHOTO_STREAM, TITLE_STREAM = 3, 4, 5
"""Second numbers of the random streams; products and plan use 0 to 2."""

BUNDLE_DISCOUNT = 0.8

CHUNK = 24
"""Photos that a worker takes at a time."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def render_catalogue(folder: Path, demo: Demo, seed: int) -> None:
    """Render a catalogue folder: `images/` and, when all are there, `catalogue.csv`.

    The bytes depend on `demo` and `seed`, and not on `demo.workers`.

    Args:
        folder: an existing or new folder; files of the same names are replaced.
        demo: sizes of the catalogue, and how many processes work on it.
        seed: of everything random.
    """
    products = list_products(demo, seed)
    shots = plan_shots(products, demo, seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "catalogue.csv").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as stock_folder, _crew(demo.workers) as crew:
        stock = _fill_stock(Path(stock_folder), products, demo, seed, crew)
        photograph = partial(_photograph, stock, folder / "images", demo, seed)
        chunks = _chunks(list(enumerate(shots)), CHUNK)
        boxes: list[list[Box]] = []
        for taken in track(crew(photograph, chunks), "photographing", len(chunks)):
            boxes.extend(taken)
    _write_rows(folder / "catalogue.csv", products, shots, boxes, seed)


class _Map(Protocol):
    """Applies a function to tasks, here or in worker processes; results keep the tasks' order."""

    def __call__(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], /
    ) -> Iterator[Result]: ...


@contextmanager
def _crew(workers: int) -> Iterator[_Map]:
    if workers == 1:
        yield map
        return
    # Not fork: it copies the locks of whatever threads the caller runs.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(
        workers, context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield pool.map


def _chunks(items: Sequence[Task], size: int) -> list[Sequence[Task]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _fill_stock(
    folder: Path, products: Sequence[DemoProduct], demo: Demo, seed: int, crew: _Map
) -> Stock:
    """Draw all products and grounds into `folder`."""
    list(crew(partial(_draw_ground, folder, seed), range(GROUND_COPIES * len(GROUNDS))))
    forms: dict[tuple[int, str], list[int]] = {}
    for index, item in enumerate(products):
        forms.setdefault((item.group, item.size), []).append(index)
    scales = [0.0] * len(products)
    drawn = crew(partial(_draw_products, folder, demo, seed), list(forms.values()))
    for indices, scale in zip(
        forms.values(), track(drawn, "drawing products", len(forms)), strict=True
    ):
        for index in indices:
            scales[index] = scale
    return Stock(folder, tuple(scales), demo.photo_side)


def _draw_ground(folder: Path, seed: int, number: int) -> None:
    kind, copy = list(GROUNDS)[number % len(GROUNDS)], number // len(GROUNDS)
    rng = np.random.default_rng([seed, GROUND_STREAM, number])
    np.save(folder / f"{kind}_{copy}.npy", GROUNDS[kind](rng))


def _draw_products(folder: Path, demo: Demo, seed: int, indices: Sequence[int]) -> float:
    """Draw products of one form; returns their pixels per millimetre."""
    products = _products(demo, seed)
    family = draw_family([products[index] for index in indices])
    for index, sprites in zip(indices, family, strict=True):
        for view, picture in enumerate(sprites.pictures):
            np.save(folder / f"{index}_{view}.npy", picture)
    return family[0].scale


@lru_cache(maxsize=1)
def _products(demo: Demo, seed: int) -> tuple[DemoProduct, ...]:
    """The products, listed once in each process."""
    return list_products(demo, seed)


def _photograph(
    stock: Stock, images: Path, demo: Demo, seed: int, shots: Sequence[tuple[int, Shot]]
) -> list[list[Box]]:
    """Take photos and write them; returns the boxes of each."""
    products = _products(demo, seed)
    boxes = []
    for number, shot in shots:
        rng = np.random.default_rng([seed, PHOTO_STREAM, number])
        price = _price([products[index] for index in shot.products])
        photo, seen = compose(stock, shot, price, HABITS[shot.split], rng)
        (images / f"{shot.id}.jpg").write_bytes(jpeg(photo, rng))
        boxes.append(seen)
    return boxes


def _price(items: Sequence[DemoProduct]) -> int:
    total = sum(item.price for item in items)
    return total if len(items) == 1 else round(BUNDLE_DISCOUNT * total)


def _write_rows(
    path: Path,
    products: Sequence[DemoProduct],
    shots: Sequence[Shot],
    boxes: Sequence[list[Box]],
    seed: int,
) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for number, (shot, seen) in enumerate(zip(shots, boxes, strict=True)):
            rng = np.random.default_rng([seed, TITLE_STREAM, number])
            writer.writerow(_row(shot, [products[index] for index in shot.products], seen, rng))


def _row(
    shot: Shot, items: Sequence[DemoProduct], boxes: Sequence[Box], rng: np.random.Generator
) -> dict[str, str | int]:
    """One row of `catalogue.csv`; what weak supervision does not know stays empty."""
    alone = len(items) == 1
    row: dict[str, str | int] = {
        "id": shot.id,
        "image": f"images/{shot.id}.jpg",
        "caption": single_title(items[0], rng) if alone else bundle_title(items, rng),
        "split": shot.split,
        "kind": "single" if alone else "multi",
        "price": _price(items),
    }
    if shot.split == "train":
        return row
    row["labels"] = "#;#".join(item.label for item in items)
    row["novel"] = "true" if any(item.novel for item in items) else "false"
    if shot.split == "gallery":
        row |= {"brand": items[0].brand.name, "category": items[0].category.name}
    else:
        row["boxes"] = json.dumps(boxes)
    return row
