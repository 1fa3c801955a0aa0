"""Catalogue folders that differ in kind from those that unbundle is developed on.

    python -m benchmarks.made_catalogues dozen /tmp/dozen --seed 3

- `dozen`: many products with one photo and one title each, which are also all that there is to
  train on; queries show eight to fourteen products, few of them are labelled for the fits.
- `hands`: pictures of one product by three hands (ink, watercolour, print) with titles in Spanish
  and Polish; the queries come from a fourth (pencil) that no training and no gallery shows.
- `unlabelled`: a catalogue of some photos a product and no labelled query at all.

All are of the inked products that the tests draw (`tests.support.drawn_catalogue`); nothing of the
pipeline was tuned on them.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from tests.support.drawn_catalogue import Product, draw_scene, list_products
from tests.support.drawn_catalogue.titles import bundle_title, single_title

Kind = Literal["dozen", "hands", "unlabelled"]
Picture = NDArray[np.uint8]

_COLUMNS = ("id", "image", "caption", "labels", "split", "kind", "boxes")
_WIDE = ("plain", "white", "collage", "shelf", "box")
"""Scenes that a dozen products fit into."""

_SIDE, _WIDE_SIDE = 256, 448
"""Pixels of a photo's longer side, of few products and of a dozen."""


@dataclass(frozen=True)
class Shot:
    """A photo to be taken: of which products, in which scene, by whose hand."""

    split: str
    scene: str
    products: tuple[Product, ...]
    hand: str = "ink"
    labelled: bool = True
    language: str = "de"
    look: int | None = None
    """Shots of one number are one photo and one title; None: its own."""


def main(
    kind: Annotated[Kind, typer.Argument(help=" | ".join(get_args(Kind)))],
    folder: Annotated[Path, typer.Argument(help="is made")],
    seed: Annotated[int, typer.Option(help="of everything")] = 3,
) -> None:
    """Write `catalogue.csv` and its images."""
    rng = np.random.default_rng([seed, 0])
    shots = list(_PLANS[kind](rng, seed))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "catalogue.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="")
        writer.writeheader()
        for number, shot in enumerate(shots):
            writer.writerow(_take(shot, f"{shot.split}{number:05d}", folder, seed, number))


def _dozen(rng: np.random.Generator, seed: int) -> Iterator[Shot]:
    products = list_products(384, 0, seed)
    scenes = ["white" if rng.random() < 0.7 else "plain" for _ in products]
    for split in ("gallery", "train"):
        for look, (product, scene) in enumerate(zip(products, scenes, strict=True)):
            yield Shot(split, scene, (product,), look=look)
    for split, count in (("dev", 50), ("test", 120)):
        for _ in range(count):
            shown = rng.choice(len(products), int(rng.integers(8, 15)), replace=False)
            yield Shot(split, str(rng.choice(_WIDE)), tuple(products[one] for one in shown))


def _hands(rng: np.random.Generator, seed: int) -> Iterator[Shot]:
    products = list_products(240, 0.2, seed)
    known = [product for product in products if not product.novel]
    drawn = ("ink", "watercolour", "print")
    for place in range(900):
        product, hand = known[place % len(known)], str(rng.choice(drawn))
        yield Shot("train", "plain", (product,), hand, language=str(rng.choice(["es", "pl"])))
    for product in products:
        for hand in rng.choice(drawn, 2, replace=False):
            yield Shot("gallery", "white", (product,), str(hand), language="es")
    for split, count in (("dev", 120), ("test", 200)):
        for _ in range(count):
            shown = rng.choice(len(products), int(rng.integers(1, 5)), replace=False)
            photo = tuple(products[one] for one in shown)
            scene = str(rng.choice(["plain", "white", "shelf"]))
            yield Shot(split, scene, photo, "pencil", language=str(rng.choice(["es", "pl"])))


def _unlabelled(rng: np.random.Generator, seed: int) -> Iterator[Shot]:
    products = list_products(200, 0.1, seed)
    for product in products:
        for split, count in (("train", 4), ("gallery", 2)):
            for _ in range(count):
                yield Shot(split, "white" if rng.random() < 0.6 else "plain", (product,))
    for _ in range(200):
        shown = rng.choice(len(products), int(rng.integers(2, 5)), replace=False)
        yield Shot("train", "plain", tuple(products[one] for one in shown), labelled=False)


_PLANS: Mapping[Kind, Callable[[np.random.Generator, int], Iterator[Shot]]] = {
    "dozen": _dozen,
    "hands": _hands,
    "unlabelled": _unlabelled,
}


def _take(shot: Shot, name: str, folder: Path, seed: int, number: int) -> dict[str, str]:
    rng = np.random.default_rng([seed, 1, number if shot.look is None else shot.look])
    side = _WIDE_SIDE if len(shot.products) > 5 else _SIDE
    drawn = draw_scene(shot.scene, shot.products, side, rng)
    pixels = _HANDS[shot.hand](drawn.pixels, rng)
    image = f"images/{name}.jpg"
    Image.fromarray(pixels).save(folder / image, quality=int(rng.integers(82, 95)))
    alone = len(shot.products) == 1
    title = single_title(shot.products[0], rng) if alone else bundle_title(shot.products, rng)
    row = {"id": name, "image": image, "split": shot.split, "kind": "single" if alone else "multi"}
    row["caption"] = _translated(title, shot.language)
    if shot.split != "train" and shot.labelled:
        row["labels"] = "#;#".join(product.label for product in shot.products)
    if shot.split in ("dev", "test"):
        row["boxes"] = json.dumps(drawn.boxes)
    return row


def _ink(pixels: Picture, rng: np.random.Generator) -> Picture:
    return pixels


def _watercolour(pixels: Picture, rng: np.random.Generator) -> Picture:
    return np.asarray(cv2.stylization(pixels, sigma_s=20, sigma_r=0.35), np.uint8)


def _print(pixels: Picture, rng: np.random.Generator) -> Picture:
    """A cheap printer: few tones, one of its inks running low."""
    levels = 5
    toned = np.round(pixels / 255 * (levels - 1)) / (levels - 1) * 255
    ink = np.ones(3)
    ink[rng.integers(3)] = rng.uniform(0.75, 0.95)
    return np.clip(255 - (255 - toned) * ink, 0, 255).astype(np.uint8)


def _pencil(pixels: Picture, rng: np.random.Generator) -> Picture:
    _, coloured = cv2.pencilSketch(pixels, sigma_s=30, sigma_r=0.12, shade_factor=0.04)
    return np.asarray(coloured, np.uint8)


_HANDS: Mapping[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "ink": _ink,
    "watercolour": _watercolour,
    "print": _print,
    "pencil": _pencil,
}

_LANGUAGES = ("es", "pl")
_DICTIONARY = """
Müsli cereales płatki, Kaffee café kawa, Saft zumo sok, Suppe sopa zupa, Konfitüre mermelada
dżem, Reiniger limpiador środek, Schokolade chocolate czekolada, Tee té herbata, Joghurt yogur
jogurt, Limonade limonada lemoniada, Chips patatas chrupki, Spülmittel lavavajillas płyn,
Apfel manzana jabłko, Orange naranja pomarańcza, Kirsche cereza wiśnia, Holunder saúco bez,
Schoko cacao kakao, Beeren bayas jagody, Nuss nuez orzech, Honig miel miód, Pfefferminz menta
mięta, Kamille manzanilla rumianek, Ingwer jengibre imbir, Hagebutte escaramujo róża, Tomate
tomate pomidor, Linsen lentejas soczewica, Kürbis calabaza dynia, Erbsen guisantes groszek,
Zitrone limón cytryna, Lavendel lavanda lawenda, Meeresbrise brisa bryza, Kiefer pino sosna,
Mild suave łagodna, Kräftig fuerte mocna, Espresso expreso espresso, Entkoffeiniert
descafeinado bezkofeinowa, Paprika pimentón papryka, Meersalz sal sól, Chili guindilla ostre,
Zwiebel cebolla cebula, und y i, neu nuevo nowość, Set lote zestaw, Beutel bolsitas torebek
"""
"""German, Spanish, Polish; a word of two in one language would be two words."""
_WORDS = [entry.split() for entry in _DICTIONARY.split(",")]


def _translated(title: str, language: str) -> str:
    if language not in _LANGUAGES:
        return title
    words = {german: others[_LANGUAGES.index(language)] for german, *others in _WORDS}
    return " ".join(words.get(word, word) for word in title.split())


if __name__ == "__main__":
    typer.run(main)
