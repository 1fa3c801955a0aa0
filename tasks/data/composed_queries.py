"""Queries that stage `compose_queries` made: rows beside those of the manifest, of the same form.

Beside the manifest's columns they have `junk`: ids of the gallery photos that they were made of and
that are not to be found, since another photo of the product is. They count neither as hits nor as
misses (the junk images of Philbin et al., CVPR 2007, section 2).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import COLUMNS, MEASURED, QUERIES
from tasks.data.manifest import TYPES, read_manifest
from tasks.data.splits import labelled
from unbundle.base.atomic import atomic_file

JUNK = "junk"
ROWS = "queries.parquet"
PREFIX = "composed-"
"""Of their ids."""


def write_composed(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of the manifest's columns and `junk` into a folder that holds their images."""
    columns = {
        column: pa.array(
            [row[column] for row in rows],
            pa.list_(pa.string()) if column == JUNK else TYPES.get(column, pa.string()),
        )
        for column in (*COLUMNS, *MEASURED, JUNK)
    }
    with atomic_file(folder / ROWS) as temporary:
        pq.write_table(pa.table(columns), temporary)


def read_rows(workspace: Workspace) -> pd.DataFrame:
    """The manifest, with `junk`, and after it the composed queries; carried columns are empty.

    Raises:
        UserError: there is no manifest.
    """
    manifest = read_manifest(workspace.manifest)
    manifest[JUNK] = [[] for _ in range(len(manifest))]
    path = workspace.composed / ROWS
    if not path.is_file() or not lacks_queries(manifest):
        return manifest
    table = pq.read_table(path)
    made = table.to_pandas()
    for column in ("labels", "boxes", JUNK):
        made[column] = pd.Series(table[column].to_pylist(), dtype="object")
    for column in manifest.columns.difference(made.columns):
        made[column] = ""
    together: pd.DataFrame = pd.concat([manifest, made[manifest.columns]], ignore_index=True)
    return together


def lacks_queries(manifest: pd.DataFrame) -> bool:
    """Whether nobody labelled a query."""
    return all(labelled(manifest, split).empty for split in QUERIES)


def are_composed(queries: pd.DataFrame) -> bool:
    """Whether these queries, at least one, were composed; a catalogue has all or none such."""
    return str(queries["id"].iloc[0]).startswith(PREFIX)


def without_junk(ranking: Iterable[str], junk: Iterable[str]) -> list[str]:
    """The ids of a ranking that are no junk."""
    left_out = frozenset(junk)
    return [item for item in ranking if item not in left_out]
