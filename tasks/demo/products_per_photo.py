"""Which photo of the catalogue shows which products."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.base.params import Demo
from tasks.demo.package_shapes import VIEWS
from tasks.demo.products import DemoProduct

Split = Literal["train", "gallery", "dev", "test"]

COUNTS, COUNT_SHARES = (2, 3, 4, 5), (0.3, 0.34, 0.22, 0.14)
"""How many products a bundle holds, and how often."""

SAME_FAMILY, SAME_BRAND = 0.2, 0.45
"""Shares of bundles whose products differ by shade and size only, or share the brand."""

REPEATED = 0.08
"""Share of bundles that hold a product twice."""

SINGLE_QUERIES = 0.15
"""Share of dev and test photos that show one product."""


@dataclass(frozen=True)
class Shot:
    """One photo to be taken.

    Attributes:
        id: unique; its first letters say what it is for.
        split: train, gallery, dev or test.
        products: indices of the products it shows.
        views: from which side each of them is seen.
    """

    id: str
    split: Split
    products: tuple[int, ...]
    views: tuple[int, ...]


def plan_shots(products: Sequence[DemoProduct], demo: Demo, seed: int) -> list[Shot]:
    """All photos of a catalogue. Novel products appear in no training photo."""
    rng = np.random.default_rng([seed, 2])
    everything = list(range(len(products)))
    known = [index for index in everything if not products[index].novel]
    turns = _in_turn(known, rng)
    singles = [(next(turns),) for _ in range(demo.train_single)]
    bundles = [_bundle(products, next(turns), known, rng) for _ in range(demo.train_multi)]
    shots = [*_shots("tr", "train", singles, rng), *_shots("tb", "train", bundles, rng)]
    shots += _gallery(everything, demo.gallery_per_product)
    shots += _shots("dv", "dev", _queries(products, demo.queries, rng), rng)
    return shots + _shots("te", "test", _queries(products, demo.queries, rng), rng)


def _shots(
    prefix: str, split: Split, contents: Sequence[tuple[int, ...]], rng: np.random.Generator
) -> list[Shot]:
    return [
        Shot(
            f"{prefix}{number:05d}",
            split,
            content,
            tuple(int(view) for view in rng.integers(VIEWS, size=len(content))),
        )
        for number, content in enumerate(contents, start=1)
    ]


def _gallery(indices: Sequence[int], photos: int) -> list[Shot]:
    """The same number of photos of every product, from each side in turn."""
    pairs = [(index, photo % VIEWS) for index in indices for photo in range(photos)]
    return [
        Shot(f"ga{number:05d}", "gallery", (index,), (view,))
        for number, (index, view) in enumerate(pairs, start=1)
    ]


def _queries(
    products: Sequence[DemoProduct], count: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """What dev or test photos show; every product comes up before any does again."""
    everything = list(range(len(products)))
    turns = _in_turn(everything, rng)
    contents = []
    for _ in range(count):
        first, alone = next(turns), rng.random() < SINGLE_QUERIES
        contents.append((first,) if alone else _bundle(products, first, everything, rng))
    return contents


def _in_turn(indices: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
    """Every index once before any comes again, in a new order each time."""
    while True:
        yield from rng.permutation(indices).tolist()


def _bundle(
    products: Sequence[DemoProduct], first: int, pool: Sequence[int], rng: np.random.Generator
) -> tuple[int, ...]:
    """Two to five products that a shop would sell together, `first` among them."""
    count = int(rng.choice(COUNTS, p=COUNT_SHARES))
    others = [index for index in rng.permutation(pool).tolist() if index != first]
    kind = rng.random()
    if kind < SAME_FAMILY:
        others.sort(key=lambda index: products[index].family != products[first].family)
    elif kind < SAME_FAMILY + SAME_BRAND:
        others.sort(key=lambda index: products[index].brand.name != products[first].brand.name)
    chosen = [first, *others[: count - 1]]
    if rng.random() < REPEATED:
        chosen[-1] = first
    return tuple(rng.permutation(chosen).tolist())
