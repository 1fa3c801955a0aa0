"""What a bundle's parts cost one by one, against what the bundle costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from unbundle.base.errors import UserError
from unbundle.index.columns import Column
from unbundle.index.gallery_collection import Hit

PRICE = "price"
"""The catalogue's column; all in one currency."""


@dataclass(frozen=True)
class Part:
    """One piece of the bundle, at its catalogue price."""

    instance: int
    """Index of the answer's instance."""
    id: str
    """Of the instance's best hit."""
    product: str
    price: float


@dataclass(frozen=True)
class Parts:
    """A bundle as its pieces; two instances of one product are two pieces."""

    items: tuple[Part, ...]
    unknown: tuple[int, ...]
    """Indexes of the instances without a price: not in the catalogue, or the whole photo, searched
    beside its boxes because the detector was sure of none."""
    total: float
    """Sum of the items' prices."""
    bundle_price: float | None
    """As the caller gave it."""
    saving: float | None
    """Total less bundle price, negative where the bundle is dearer; None where no bundle price was
    given or a part is unknown."""


def has_prices(columns: Sequence[Column]) -> bool:
    """Whether an index has a column `price` of numbers."""
    return any(column.name == PRICE and column.numeric for column in columns)


def compare(best: Sequence[Hit | None], bundle_price: float | None) -> Parts:
    """Price each instance by its best hit; None stands for one that is unknown."""
    items = tuple(
        Part(index, hit.id, hit.product, float(price))
        for index, hit in enumerate(best)
        if hit is not None and (price := hit.fields.get(PRICE)) is not None
    )
    priced = {part.instance for part in items}
    unknown = tuple(index for index in range(len(best)) if index not in priced)
    # Decimal: 39.9 + 59.9 is 99.8.
    total = sum((Decimal(str(part.price)) for part in items), Decimal(0))
    saving = None
    if bundle_price is not None and not unknown:
        saving = float(total - Decimal(str(bundle_price)))
    return Parts(items, unknown, float(total), bundle_price, saving)


def checked_price(bundle_price: float | None) -> float | None:
    """A bundle's price as given.

    Raises:
        UserError: it is negative or not finite.
    """
    if bundle_price is not None and not 0 <= bundle_price < math.inf:
        raise UserError(f"bundle price {bundle_price}: expected a number of 0 or more")
    return bundle_price
