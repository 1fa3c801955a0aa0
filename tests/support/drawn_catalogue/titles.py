"""German shop titles: noisy, sometimes silent about size or variety, or about whole products."""

from collections.abc import Sequence

import numpy as np

from .products import Product

NOISE = (
    "Angebot", "versandkostenfrei", "neu", "Aktion", "solange Vorrat reicht", "Original",
    "günstig", "frisch eingetroffen", "Vorratspack", "mit Rabatt", "Bestseller", "vom Händler",
)  # fmt: skip
SETS = ("Set", "Sparpaket", "Probierpaket", "Geschenkbox", "Vorratsset", "Bündel")
MORE = ("und mehr", "u. a.", "und weitere", "plus Überraschung", "")

NOISY, SILENT_SIZE, SILENT_VARIETY, SILENT_BRAND = 0.5, 0.45, 0.25, 0.2
"""Shares of titles with a phrase of noise, or without a product's size, variety or brand."""

UNNAMED = 0.03
"""Share of titles that name no product."""


def single_title(product: Product, rng: np.random.Generator) -> str:
    """A title of one product."""
    words = [] if rng.random() < UNNAMED else _name(product, rng)
    if rng.random() < NOISY or not words:
        words.insert(int(rng.choice([0, len(words)])), _one(NOISE, rng))
    return " ".join(words)


def bundle_title(products: Sequence[Product], rng: np.random.Generator) -> str:
    """A title of several products that leaves at least one of them out."""
    named = int(rng.integers(1, len(products)))
    if rng.random() < UNNAMED:
        named = 0
    order = rng.permutation(len(products))[:named].tolist()
    names = [" ".join(_name(products[place], rng)) for place in order]
    joint = _one((" + ", ", ", " und "), rng)
    parts = [_one(SETS, rng), joint.join(names), _one(MORE, rng) if names else ""]
    if rng.random() < NOISY:
        parts.append(_one(NOISE, rng))
    if rng.random() < 0.5:
        parts = [*parts[1:2], parts[0], *parts[2:]]
    return " ".join(part for part in parts if part)


def _name(product: Product, rng: np.random.Generator) -> list[str]:
    words = [] if rng.random() < SILENT_BRAND else [product.brand.name]
    core = [product.kind.name]
    if rng.random() >= SILENT_VARIETY:
        core.append(product.variety.name)
    words += core if rng.random() < 0.8 else core[::-1]
    if rng.random() >= SILENT_SIZE:
        words.append(product.amount)
    return words


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
