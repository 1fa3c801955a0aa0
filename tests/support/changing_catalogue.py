"""A shop that changes: the source catalogue of a workspace, row by row."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet

from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import LABEL_SEPARATOR, MEASURED
from tests.support.tiny_model_bundle import scene, write_photo
from unbundle.index.gallery_collection import Gallery
from unbundle.index.milvus_database import Database


class Shop:
    """`catalogue.csv` beside its photos, from a manifest; `save` writes what changed in `rows`."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.folder = workspace, workspace.catalogue
        table = pyarrow.parquet.read_table(workspace.manifest).to_pylist()
        self.rows: dict[str, dict[str, str]] = {}
        for row in table:
            row["labels"] = LABEL_SEPARATOR.join(row["labels"])
            row["boxes"] = json.dumps(row["boxes"]) if row["boxes"] else ""
            self.rows[row["id"]] = {name: row[name] for name in row if name not in MEASURED}
        self.save()

    def save(self) -> None:
        path = self.folder / "catalogue.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(next(iter(self.rows.values()))))
            writer.writeheader()
            writer.writerows(self.rows.values())

    def add(self, name: str, number: int) -> None:
        """A gallery row that shows product `number`; its other columns are those of `g0-0`."""
        self.draw(name, number)
        self.rows[name] = self.rows["g0-0"] | {
            "id": name,
            "image": f"images/{name}.png",
            "caption": f"red cream {number}",
            "labels": f"product-{number}",
        }

    def draw(self, name: str, number: int) -> None:
        """Another photo, under the same name."""
        write_photo(self.photo(name), scene([number]))

    def photo(self, name: str) -> Path:
        return self.folder / f"images/{name}.png"


@contextmanager
def index(workspace: Workspace, name: str = "products") -> Iterator[Gallery]:
    """The index that serves, or another one."""
    with Database(str(workspace.milvus)) as database:
        yield database.gallery(name)


def labels(workspace: Workspace, name: str = "products") -> dict[str, str]:
    """Label of every row of an index by id."""
    with index(workspace, name) as gallery:
        return {hit.id: hit.label for hit in gallery.rows.hits}
