"""The manifest: the clean rows of the catalogue, which every later stage starts from."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.data.catalogue_table import COLUMNS, MEASURED
from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError

TYPES = {
    "labels": pa.list_(pa.string()),
    "boxes": pa.list_(pa.list_(pa.int32())),
    "width": pa.int32(),
    "height": pa.int32(),
}
"""Columns that are no text."""


def write_manifest(path: Path, rows: pd.DataFrame) -> None:
    """Write rows in their order; columns are `COLUMNS`, `MEASURED`, then the carried ones."""
    carried = [column for column in rows.columns if column not in (*COLUMNS, *MEASURED)]
    columns = {
        column: pa.array(rows[column].tolist(), TYPES.get(column, pa.string()))
        for column in (*COLUMNS, *MEASURED, *carried)
    }
    with atomic_file(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read the manifest, one row per clean row of the catalogue, in its order.

    Returns:
        Columns id, image (relative to the catalogue folder), caption, labels (list of str, empty
        where unknown), split, kind, boxes (list of `[x0, y0, x1, y1]` int, or None), width and
        height (int, pixels of the upright photo), then the carried columns as str.

    Raises:
        UserError: there is no manifest.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the stage validate first")
    table = pq.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    # pandas would make arrays of the lists, whose truth and equality surprise.
    for column in ("labels", "boxes"):
        frame[column] = pd.Series(table[column].to_pylist(), dtype="object")
    return frame
