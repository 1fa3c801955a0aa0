"""What validation derives from the rows: the columns that `tasks.validation.checks` names.

A number is missing (NaN) where its check does not concern the row.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from tasks.data.catalogue_table import COLUMNS, QUERIES, parse_boxes, parse_labels
from tasks.data.phash import near_duplicates
from tasks.data.photo_checks import PhotoCheck
from tasks.data.splits import product_of, products_of, rows_of


def row_facts(rows: pd.DataFrame, photos: Iterable[PhotoCheck]) -> pd.DataFrame:
    """What is known of each row by itself.

    Args:
        rows: as `tasks.data.catalogue_table.read_rows` gives them.
        photos: the check of each row's photo, in the order of `rows`.

    Returns:
        `COLUMNS` of the rows with labels and boxes parsed (boxes None where they are absent or
        broken), width and height of the photo, its `hash` (uint64) and what the checks read;
        the index is that of `rows`.
    """
    columns = rows[list(COLUMNS)].to_dict("records")
    facts = [_facts(row, photo) for row, photo in zip(columns, photos, strict=True)]
    return pd.DataFrame(facts, index=rows.index).astype({"hash": "uint64"})


def _facts(row: dict[Any, Any], photo: PhotoCheck) -> dict[str, Any]:
    labels = parse_labels(row["labels"])
    boxes, boxes_problem = _boxes(row["boxes"])
    decoded = not photo.problem
    return row | {
        "labels": labels,
        "boxes": boxes,
        "width": photo.width,
        "height": photo.height,
        "hash": photo.hash,
        "photo_problem": photo.problem,
        "short_side": min(photo.width, photo.height) if decoded else math.nan,
        "label_count": len(labels),
        "box_count": len(boxes or []),
        "empty_labels": labels.count(""),
        "gallery_products": len(set(labels)) if row["split"] == "gallery" else math.nan,
        "query_labels": len(labels) if row["split"] in QUERIES else math.nan,
        "boxes_problem": boxes_problem,
        "unpaired_boxes": abs(len(boxes) - len(labels))
        if boxes is not None and labels
        else math.nan,
        "boxes_outside": _outside(boxes, photo) if boxes is not None and decoded else math.nan,
    }


def _boxes(text: str) -> tuple[list[list[int]] | None, str]:
    try:
        return parse_boxes(text), ""
    except ValueError as error:
        return None, str(error)


def _outside(boxes: list[list[int]], photo: PhotoCheck) -> int:
    return sum(
        not (0 <= x0 < x1 <= photo.width and 0 <= y0 < y1 <= photo.height)
        for x0, y0, x1, y1 in boxes
    )


def relation_facts(facts: pd.DataFrame, bits: int) -> pd.DataFrame:
    """What is known of rows against each other.

    Args:
        facts: of the rows that passed the checks by themselves.
        bits: within which two photos' hashes count as near-duplicates.

    Returns:
        `facts` and the columns unknown_labels (of a query, those that no gallery row has, joined),
        near_duplicate (of a training row, the id of the query whose photo it nearly is) and
        gallery_photos (of a gallery row, how many there are of its label).
    """
    gallery = Counter(products_of(rows_of(facts, "gallery")))
    pairs = list(zip(facts["split"], facts["labels"], strict=True))
    return facts.assign(
        unknown_labels=[_unknown(labels, gallery) if s in QUERIES else "" for s, labels in pairs],
        near_duplicate=_copied_queries(facts, bits),
        gallery_photos=[
            gallery[product_of(labels)] if s == "gallery" else math.nan for s, labels in pairs
        ],
    )


def _unknown(labels: list[str], gallery: Counter[str]) -> str:
    return ", ".join(dict.fromkeys(repr(label) for label in labels if label not in gallery))


def _copied_queries(facts: pd.DataFrame, bits: int) -> list[str]:
    train, queries = rows_of(facts, "train"), rows_of(facts, *QUERIES)
    found = near_duplicates(train["hash"].to_numpy(), queries["hash"].to_numpy(), bits)
    copied = [queries["id"].iloc[index] if index >= 0 else "" for index in found]
    by_row = dict(zip(train.index, copied, strict=True))
    return [by_row.get(row, "") for row in facts.index]
