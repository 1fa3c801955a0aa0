"""Which rows of a manifest are for what: a split, labelled queries, photos of one product.

Rows keep their order and index. What fits something is kept apart from what stays unseen.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd


def rows_of(manifest: pd.DataFrame, *splits: str) -> pd.DataFrame:
    """The rows of some splits."""
    return manifest[manifest["split"].isin(splits)]


def labelled(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a split that name what their photo shows."""
    rows = rows_of(manifest, split)
    return rows[rows["labels"].map(len) > 0]


def single_photos(manifest: pd.DataFrame) -> pd.DataFrame:
    """The training rows that show one product, or may: their kind is `single` or unknown."""
    train = rows_of(manifest, "train")
    return train[train["kind"] != "multi"]


def product_of(labels: Sequence[str]) -> str:
    """The product of a gallery row, which is its first label; empty where it has none."""
    return next(iter(labels), "")


def products_of(gallery: pd.DataFrame) -> list[str]:
    """`product_of` every row, in their order."""
    return [product_of(labels) for labels in gallery["labels"]]


def spread(total: int, count: int) -> list[int]:
    """Places of at most `count` of `total` things, evenly spread, the first and the last included.

    One place is the first; no thing gives no place.
    """
    return [int(place) for place in np.linspace(0, total - 1, min(count, total))]


def is_fitted(query_id: str) -> bool:
    """Whether a query belongs to the half of its split that weights are fitted on.

    The half depends on the id alone: it is the same on every machine and stays the same when rows
    come and go.
    """
    return hashlib.sha256(query_id.encode("utf-8")).digest()[0] % 2 == 0
