"""What a catalogue must satisfy, as data: each check is one Great Expectations expectation.

The first suite looks at each row by itself, the second at the rows that passed, against each other:
a query whose product lost its only gallery photo to the first suite is found by the second.
The columns are those of the catalogue and of `tasks.validation.derived_columns`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from tasks.base.params import Validate
from tasks.data.catalogue_table import KINDS, REQUIRED, SPLITS
from unbundle.base.catalogue_cells import ID_PATTERN

Effect = Literal["quarantine", "warn", "refuse"]
"""What a failed check does: the row is left out, reported only, or the stage fails."""


@dataclass(frozen=True)
class Check:
    """One expectation and what follows where it fails.

    Attributes:
        name: what must hold.
        expectation: class in `great_expectations.expectations`.
        options: its arguments.
        reason: why a row fails it, a format string over the row's columns; of the whole table
            where the check refuses.
        effect: see `Effect`.
    """

    name: str
    expectation: str
    options: dict[str, Any]
    reason: str
    effect: Effect = "quarantine"


def row_checks(settings: Validate) -> tuple[Check, ...]:
    """Checks of each row by itself, and of the table's shape."""
    return (
        Check(
            "the table has the columns of a catalogue",
            "ExpectTableColumnsToMatchSet",
            {"column_set": list(REQUIRED), "exact_match": False},
            f"needs the columns {', '.join(REQUIRED)}",
            "refuse",
        ),
        Check(
            "ids are unique",
            "ExpectColumnValuesToBeUnique",
            {"column": "id"},
            "its id occurs more than once",
        ),
        Check(
            "ids are at most 64 letters, digits or _.:-",
            "ExpectColumnValuesToMatchRegex",
            {"column": "id", "regex": rf"^{ID_PATTERN}\Z"},
            "its id is not 1 to 64 letters, digits or _.:-",
        ),
        _one_of("split", SPLITS),
        _one_of("kind", KINDS),
        _empty("images lie in the folder and decode", "photo_problem"),
        Check(
            f"the shorter side of photos has at least {settings.min_side} pixels",
            "ExpectColumnValuesToBeBetween",
            {"column": "short_side", "min_value": settings.min_side},
            f"its photo has {{short_side:.0f}} pixels, fewer than {settings.min_side}",
        ),
        Check(
            f"captions have at most {settings.max_caption} characters",
            "ExpectColumnValueLengthsToBeBetween",
            {"column": "caption", "max_value": settings.max_caption},
            f"its caption is longer than {settings.max_caption} characters",
        ),
        _none("no label is empty", "empty_labels", "a label is empty, labels are joined by #;#"),
        Check(
            "gallery rows have one product",
            "ExpectColumnValuesToBeBetween",
            {"column": "gallery_products", "min_value": 1, "max_value": 1},
            "a gallery row needs the label of one product, it has {gallery_products:.0f}",
        ),
        Check(
            "queries have labels",
            "ExpectColumnValuesToBeBetween",
            {"column": "query_labels", "min_value": 1},
            "a {split} row needs labels, it has none",
        ),
        _empty("boxes are [[x0, y0, x1, y1], …] or empty", "boxes_problem"),
        _none(
            "there is one box per label",
            "unpaired_boxes",
            "it has {box_count:.0f} boxes for {label_count} labels",
        ),
        _none(
            "boxes lie in the photo",
            "boxes_outside",
            "{boxes_outside:.0f} of its boxes are empty or leave the {width} x {height} photo",
        ),
    )


def relation_checks(settings: Validate) -> tuple[Check, ...]:
    """Checks of the rows that pass `row_checks`, against each other."""
    return (
        Check(
            "there are rows to train on and to search in",
            "ExpectColumnDistinctValuesToContainSet",
            {"column": "split", "value_set": ["train", "gallery"]},
            "needs clean rows of the splits train and gallery",
            "refuse",
        ),
        _empty(
            "labels of queries are in the gallery",
            "unknown_labels",
            "no clean gallery row has its label {unknown_labels}",
        ),
        _empty(
            f"no training photo is within {settings.near_duplicate_bits} bits of a query's",
            "near_duplicate",
            "its photo nearly is that of the query {near_duplicate!r}",
        ),
        Check(
            "labels have several gallery photos",
            "ExpectColumnValuesToBeBetween",
            {"column": "gallery_photos", "min_value": 2},
            "it is the only photo of its product",
            "warn",
        ),
    )


def _one_of(column: str, values: tuple[str, ...]) -> Check:
    named = ", ".join(value or "empty" for value in values)
    return Check(
        f"{column} is one of {named}",
        "ExpectColumnValuesToBeInSet",
        {"column": column, "value_set": list(values)},
        f"{column} {{{column}!r}} is none of {named}",
    )


def _empty(name: str, column: str, reason: str = "") -> Check:
    return Check(
        name,
        "ExpectColumnValuesToBeInSet",
        {"column": column, "value_set": [""]},
        reason or f"{{{column}}}",
    )


def _none(name: str, column: str, reason: str) -> Check:
    return Check(name, "ExpectColumnValuesToBeBetween", {"column": column, "max_value": 0}, reason)
