"""The gallery rows of a manifest as an index takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.data.catalogue_table import COLUMNS, MEASURED
from tasks.data.splits import product_of
from unbundle.base.errors import UserError
from unbundle.index.change_journal import sha256
from unbundle.index.columns import Column
from unbundle.index.gallery_collection import Item, content_digest


def read_gallery(manifest: Path) -> list[Item]:
    """The gallery rows of a manifest, by id; a row's first label is its product.

    Raises:
        UserError: the manifest is missing or has no gallery row.
    """
    # Not pandas: a stage that finds nothing to do must end at once.
    import pyarrow.parquet

    if not manifest.is_file():
        raise UserError(f"{manifest}: no such file; run `dvc repro validate`")
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(
        manifest, filters=[("split", "=", "gallery")]
    ).to_pylist()
    if not rows:
        raise UserError(f"{manifest}: no row of split gallery; give the single products this split")
    return sorted((item_of(row, row["labels"]) for row in rows), key=lambda item: item.id)


def item_of(cells: Mapping[str, Any], labels: Sequence[str]) -> Item:
    """A gallery row as an index takes it, without digest.

    Args:
        cells: by column, of the manifest or of the catalogue's table; what the format does not
            name becomes the item's columns.
        labels: of the row.
    """
    own = (*COLUMNS, *MEASURED)
    return Item(
        id=cells["id"],
        label=product_of(labels),
        caption=cells["caption"],
        image=cells["image"],
        columns={name: cell for name, cell in cells.items() if name not in own},
    )


def traced(item: Item, folder: Path, columns: Sequence[Column]) -> Item:
    """An item with the digest of what its row is made from: cells, photo, columns of the index.

    Raises:
        UserError: its photo is missing.
    """
    # Bytes and not dates: a checkout or `dvc checkout` gives the same photos new dates.
    path = folder / item.image
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro validate`")
    made_from = content_digest(item, sha256(path.read_bytes()), columns)
    return replace(item, digest=made_from, source=made_from)
