"""The invented products: who makes them, what they are called, what they look like in outline.

Products come in groups (one brand's packaging of one category), groups in lines, lines in shades
and sizes: neighbours share the form and differ by label, colour or proportions.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict

from tasks.base.params import Demo
from tasks.demo.package_shapes import Form
from unbundle.base.errors import UserError

TABLES = Path(__file__).with_name("brands.yaml")

ROUND = 48
"""Groups before the pairs of brand and category would repeat: the lcm of 12 and 16."""

MOST_GROUPS = 4 * ROUND
"""All pairs of brand and category."""

Look = Literal["classic", "paper", "dip", "minimal", "vertical", "band", "badge"]
"""Layouts of labels."""


class Table(BaseModel):
    """A frozen table of `brands.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(Table):
    """A product line of a brand."""

    name: str
    zh: str
    accent: str


class Brand(Table):
    """A brand, its packaging and its lines; `tier` scales its prices."""

    name: str
    zh: str
    display: str
    text: str
    body: str
    ink: str
    cap: str
    trim: str
    motif: str
    looks: tuple[Look, ...]
    finish: str
    tier: float
    lines: tuple[Line, ...]


class Category(Table):
    """What a product is, its packaging's size in millimetres and the sizes it is sold in."""

    key: str
    name: str
    zh: tuple[str, ...]
    shape: str
    width: float
    height: float
    glass: bool
    tints: str
    sizes: tuple[str, ...]
    price: float


class Tint(Table):
    """A shade, scent or plant with its colour and its ornament ("none": there is none)."""

    name: str
    zh: str
    colour: str
    emblem: str


class World(Table):
    """Everything that `brands.yaml` holds."""

    brands: tuple[Brand, ...]
    categories: tuple[Category, ...]
    tints: dict[str, tuple[Tint, ...]]


@dataclass(frozen=True)
class DemoProduct:
    """One product of the catalogue.

    Attributes:
        group: index of its packaging: products of one group and size share their outline.
        look: layout of its label.
        form: outline of its packaging.
        price: in yuan.
        novel: it never appears in training photos.
    """

    group: int
    brand: Brand
    category: Category
    line: Line
    look: Look
    tint: Tint
    size: str
    form: Form
    price: int
    novel: bool

    @property
    def label(self) -> str:
        """The instance label, readable and unique."""
        parts = (self.brand.name, self.line.name, self.category.name, self.size, self.tint.name)
        return " ".join(parts)

    @property
    def family(self) -> tuple[int, str]:
        """What it shares with products that differ from it by shade or size only."""
        return self.group, self.line.name


@lru_cache(maxsize=1)
def world() -> World:
    """The tables of `brands.yaml`."""
    raw = yaml.safe_load(TABLES.read_text(encoding="utf-8"))
    raw["tints"] = {
        key: [dict(zip(("name", "zh", "colour", "emblem"), row, strict=True)) for row in rows]
        for key, rows in raw["tints"].items()
    }
    return World.model_validate(raw)


def list_products(demo: Demo, seed: int) -> tuple[DemoProduct, ...]:
    """The products of a demo catalogue, the same for the same seed.

    `demo.unseen_fraction` of them, drawn at random, are novel.

    Raises:
        UserError: more products are asked for than the tables yield.
    """
    products: list[DemoProduct] = []
    group = 0
    while len(products) < demo.products:
        if group == MOST_GROUPS:
            raise UserError(
                f"params.yaml: catalogue.demo.products: found {demo.products}, expected at most "
                f"the {len(products)} that {TABLES.name} yields; lower it or add brands there"
            )
        products.extend(_group(group, seed))
        group += 1
    products = products[: demo.products]
    rng = np.random.default_rng([seed, 0])
    count = round(demo.unseen_fraction * len(products))
    novel = set(rng.permutation(len(products))[:count].tolist())
    return tuple(replace(item, novel=index in novel) for index, item in enumerate(products))


def _group(index: int, seed: int) -> list[DemoProduct]:
    """The products of one brand's packaging of one category, one or two lines of them."""
    brands, categories = world().brands, world().categories
    brand = brands[index % len(brands)]
    # Brands and categories repeat together after ROUND groups: the shift makes later pairs new.
    category = categories[(index + index // ROUND) % len(categories)]
    rng = np.random.default_rng([seed, 1, index])
    forms = _forms(category, rng)
    first = int(rng.integers(len(brand.lines)))
    products: list[DemoProduct] = []
    for turn in range(1 + index % 2):
        position = (first + turn) % len(brand.lines)
        line, look = brand.lines[position], brand.looks[position]
        for size, tint in _variants(category, rng):
            price = round(category.price * brand.tier * (1 + 0.5 * category.sizes.index(size)))
            products.append(
                DemoProduct(
                    index, brand, category, line, look, tint, size, forms[size], price, False
                )
            )
    return products


def _variants(category: Category, rng: np.random.Generator) -> list[tuple[str, Tint]]:
    """Two to four combinations of size and shade; some shades are sold in two sizes."""
    tints = world().tints[category.tints]
    count = int(rng.integers(2, 5))
    chosen = sorted(rng.permutation(len(tints))[:count].tolist())
    first = [(category.sizes[0], tints[index]) for index in chosen]
    if len(category.sizes) == 1 or rng.random() < 0.5:
        return first
    return [*first[: count - 1], (category.sizes[1], tints[chosen[0]])]


def _forms(category: Category, rng: np.random.Generator) -> dict[str, Form]:
    """The group's outline at each size: larger sizes grow in height more than in width."""
    square = 7.0 if category.key == "perfume" else 2.0
    if category.shape in ("lipstick", "gloss", "compact", "bottle") and rng.random() < 0.4:
        square = 5.0
    depth = 0.55 if category.key == "perfume" else 1.0
    if category.shape == "bottle" and square > 2:
        depth = 0.6
    width = category.width * rng.uniform(0.9, 1.12)
    height = category.height * rng.uniform(0.88, 1.12)
    shoulder, closure = rng.uniform(0, 1), rng.uniform(0.8, 1.25)
    forms = {}
    for size in category.sizes:
        grown = _amount(size) / _amount(category.sizes[0])
        wide, tall = grown**0.15, grown**0.6
        forms[size] = Form(
            category.shape, width * wide, height * tall, square, depth, shoulder, closure / tall
        )
    return forms


def _amount(size: str) -> float:
    return float(size.rstrip("mlg"))
