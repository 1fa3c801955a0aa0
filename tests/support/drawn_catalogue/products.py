"""The invented groceries: families of siblings whose names share most words."""

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

SIBLINGS = 4
"""Products of a family: same brand and kind, two varieties in two sizes, or four varieties."""


@dataclass(frozen=True)
class Brand:
    """A maker: name, colours of its packs and its print, emblem and layout."""

    name: str
    base: Colour
    ink: Colour
    second: Colour
    emblem: str
    layout: str


@dataclass(frozen=True)
class Variety:
    """A flavour or scent: name, colour and picture."""

    name: str
    colour: Colour
    icon: str


@dataclass(frozen=True)
class Kind:
    """What a product is: name, pack and the pack's centimetres, sizes and varieties."""

    name: str
    pack: str
    size: tuple[float, float, float]
    amounts: tuple[str, str]
    varieties: tuple[Variety, ...]


@dataclass(frozen=True)
class Product:
    """A product; `grown` where it is its kind's larger size, `novel` where training lacks it."""

    brand: Brand
    kind: Kind
    variety: Variety
    grown: bool
    novel: bool = False

    @property
    def amount(self) -> str:
        """As printed on the pack."""
        return self.kind.amounts[self.grown]

    @property
    def label(self) -> str:
        """The full name, unique in a catalogue."""
        return f"{self.brand.name} {self.kind.name} {self.variety.name} {self.amount}"

    @property
    def family(self) -> tuple[str, str]:
        """What siblings share."""
        return self.brand.name, self.kind.name


BRANDS = (
    Brand("Sonnhof", (250, 214, 90), (120, 40, 30), (255, 246, 214), "sun", "circle"),
    Brand("Nordwind", (42, 92, 150), (245, 248, 252), (150, 205, 235), "waves", "diagonal"),
    Brand("Tante Erna", (246, 236, 218), (150, 30, 50), (205, 60, 70), "heart", "checks"),
    Brand("Bergquell", (236, 243, 246), (30, 80, 110), (90, 160, 190), "peak", "bands"),
    Brand("Rotkehlchen", (206, 52, 46), (255, 244, 226), (250, 196, 80), "star", "diagonal"),
    Brand("Kornblume", (92, 84, 168), (255, 250, 240), (210, 200, 240), "flower", "circle"),
    Brand("Grünkraft", (60, 132, 78), (250, 250, 224), (190, 220, 120), "leaf", "bands"),
    Brand("Mokkamann", (58, 40, 36), (244, 214, 160), (196, 120, 62), "bean", "checks"),
)

_FRUIT = (
    Variety("Apfel", (150, 190, 60), "apple"),
    Variety("Orange", (244, 146, 40), "ring"),
    Variety("Kirsche", (178, 24, 60), "berries"),
    Variety("Holunder", (110, 60, 140), "flower"),
)
_SWEET = (
    Variety("Schoko", (110, 66, 42), "square"),
    Variety("Beeren", (190, 44, 110), "berries"),
    Variety("Nuss", (200, 150, 92), "bean"),
    Variety("Honig", (238, 170, 36), "comb"),
)
_HERBS = (
    Variety("Pfefferminz", (70, 170, 130), "leaf"),
    Variety("Kamille", (246, 222, 120), "flower"),
    Variety("Ingwer", (222, 176, 110), "bean"),
    Variety("Hagebutte", (214, 60, 52), "drop"),
)
_SAVOURY = (
    Variety("Tomate", (216, 52, 40), "apple"),
    Variety("Linsen", (150, 110, 70), "dots"),
    Variety("Kürbis", (236, 136, 36), "sun"),
    Variety("Erbsen", (120, 170, 70), "dots"),
)
_SCENTS = (
    Variety("Zitrone", (246, 226, 70), "drop"),
    Variety("Lavendel", (150, 120, 200), "flower"),
    Variety("Meeresbrise", (80, 160, 210), "waves"),
    Variety("Kiefer", (50, 120, 90), "peak"),
)
_ROASTS = (
    Variety("Mild", (214, 170, 120), "bean"),
    Variety("Kräftig", (120, 60, 40), "bean"),
    Variety("Espresso", (60, 44, 44), "square"),
    Variety("Entkoffeiniert", (110, 160, 180), "moon"),
)
_CRISPS = (
    Variety("Paprika", (214, 64, 44), "apple"),
    Variety("Meersalz", (150, 190, 215), "waves"),
    Variety("Chili", (150, 24, 30), "drop"),
    Variety("Zwiebel", (180, 190, 90), "ring"),
)

KINDS = (
    Kind("Müsli", "carton", (19, 27, 7), ("375 g", "750 g"), _SWEET),
    Kind("Kaffee", "pouch", (13, 21, 7), ("250 g", "500 g"), _ROASTS),
    Kind("Saft", "gable", (9, 22, 9), ("0,5 l", "1 l"), _FRUIT),
    Kind("Suppe", "can", (9, 12, 9), ("400 ml", "800 ml"), _SAVOURY),
    Kind("Konfitüre", "jar", (9, 11, 9), ("225 g", "340 g"), _FRUIT),
    Kind("Reiniger", "trigger", (11, 26, 6), ("500 ml", "750 ml"), _SCENTS),
    Kind("Schokolade", "bar", (17, 8, 1), ("100 g", "200 g"), _SWEET),
    Kind("Tee", "carton", (15, 9, 7), ("20 Beutel", "40 Beutel"), _HERBS),
    Kind("Joghurt", "cup", (10, 9, 10), ("150 g", "450 g"), _FRUIT),
    Kind("Limonade", "bottle", (7, 25, 7), ("0,33 l", "0,75 l"), _FRUIT),
    Kind("Chips", "pouch", (19, 26, 8), ("90 g", "175 g"), _CRISPS),
    Kind("Spülmittel", "bottle", (9, 23, 5), ("450 ml", "900 ml"), _SCENTS),
)


def list_products(count: int, unseen: float, seed: int) -> list[Product]:
    """Draw a catalogue's products.

    Args:
        count: how many; at most `len(BRANDS) * len(KINDS) * SIBLINGS`.
        unseen: share of products that training photos never show.
        seed: of the draw.
    """
    rng = np.random.default_rng([seed, 0])
    pairs = [(brand, kind) for kind in KINDS for brand in BRANDS]
    # Every kind in turn, so that a small catalogue shows all packs.
    order = rng.permutation(len(BRANDS))
    turns = [
        pairs[place * len(BRANDS) + int(order[(turn + place) % len(BRANDS)])]
        for turn in range(len(BRANDS))
        for place in range(len(KINDS))
    ]
    products: list[Product] = []
    for brand, kind in turns[: -(-count // SIBLINGS)]:
        varieties = [kind.varieties[place] for place in rng.permutation(len(kind.varieties))]
        if rng.random() < 0.5:
            products += [Product(brand, kind, one, False) for one in varieties]
        else:
            pair = varieties[:2]
            products += [
                Product(brand, kind, one, grown) for one in pair for grown in (False, True)
            ]
    products = products[:count]
    novel = set(rng.permutation(count)[: round(count * unseen)].tolist())
    return [
        Product(one.brand, one.kind, one.variety, one.grown, place in novel)
        for place, one in enumerate(products)
    ]
