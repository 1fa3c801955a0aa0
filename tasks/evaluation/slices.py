"""Kinds of queries whose figures are told apart: what a mean hides."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.data.catalogue_table import COLUMNS, MEASURED
from tasks.data.composed_queries import JUNK
from tasks.data.splits import is_fitted

Members = NDArray[np.bool_]

RARE = 0.25
"""Quantile of the labels' gallery sizes; smaller labels are rare."""

SMALL = 0.05
"""Of the photo's area; smaller boxes are small."""

VALUES = 6
"""A carried column with more distinct values, such as a price, makes no slices."""

_MOST_PRODUCTS = 4


def slices(
    queries: pd.DataFrame, gallery: Mapping[str, str], fitted_split: str | None
) -> dict[str, Members]:
    """Which queries belong to which slice; slices that hold none or all of them are left out.

    Args:
        queries: rows of the manifest, all with labels.
        gallery: label of each gallery item by its id.
        fitted_split: the split whose half the bundle's weights were fitted on, if any.

    Returns:
        Membership bool `[N]` in the order of `queries`, by the slice's name.
    """
    found = [
        *_by_products(queries),
        ("repeated label", queries["labels"].map(lambda labels: len(set(labels)) < len(labels))),
        ("rare label", _rare(queries["labels"], gallery)),
        ("small box", _small(queries)),
        ("held out", _held_out(queries, fitted_split)),
        *_by_columns(queries),
    ]
    members = {name: np.asarray(series, bool) for name, series in found}
    return {name: rows for name, rows in members.items() if 0 < rows.sum() < len(rows)}


def _by_products(queries: pd.DataFrame) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    counts = queries["labels"].map(len)
    for count in range(1, _MOST_PRODUCTS):
        yield f"products={count}", counts == count
    yield f"products={_MOST_PRODUCTS}+", counts >= _MOST_PRODUCTS


def _rare(labels: "pd.Series[list[str]]", gallery: Mapping[str, str]) -> "pd.Series[bool]":
    sizes = Counter(gallery.values())
    limit, middle = np.quantile(list(sizes.values()) or [0], [RARE, 0.5])
    # Where most labels are of one size, none of them is rarer than the others.
    rare = {label for label, size in sizes.items() if size <= limit < middle}
    return labels.map(lambda row: not rare.isdisjoint(row))


def _small(queries: pd.DataFrame) -> "pd.Series[bool]":
    limits = SMALL * queries["width"] * queries["height"]
    smallest = queries["boxes"].map(_smallest)
    return smallest < limits


def _smallest(boxes: list[list[int]] | None) -> float:
    # A query without known boxes belongs to no slice of boxes.
    return min(((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes or ()), default=math.inf)


def _held_out(queries: pd.DataFrame, fitted_split: str | None) -> "pd.Series[bool]":
    return (queries["split"] == fitted_split) & ~queries["id"].map(is_fitted)


def _by_columns(queries: pd.DataFrame) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    for column in queries.columns.difference([*COLUMNS, *MEASURED, JUNK]):
        values = sorted(set(queries[column]) - {""})
        if len(values) <= VALUES:
            for value in values:
                yield f"{column}={value}", queries[column] == value
