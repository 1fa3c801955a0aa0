"""A shop that changes: the source catalogue of a served world, row by row."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet
from bundles import scene, write_photo
from served import serve

from serving.database import Database
from serving.gallery import Gallery
from tasks.rows import LABEL_SEPARATOR
from tasks.workspace import Workspace

HEADER = ("id", "image", "caption", "labels", "split", "kind", "price", "brand")


class Shop:
    """`catalogue.csv` beside its photos; `save` writes what was changed in `rows`."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.folder = workspace, workspace.catalogue
        table = pyarrow.parquet.read_table(workspace.manifest).to_pylist()
        self.rows = {row["id"]: {name: row[name] for name in HEADER} for row in table}
        for row in self.rows.values():
            row["labels"] = LABEL_SEPARATOR.join(row["labels"])
        self.save()

    def save(self) -> None:
        path = self.folder / "catalogue.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(self.rows.values())

    def add(self, name: str, number: int) -> None:
        """A gallery row that shows product `number`."""
        self.draw(name, number)
        self.rows[name] = {
            "id": name,
            "image": f"images/{name}.png",
            "caption": f"red cream {number}",
            "labels": f"product-{number}",
            "split": "gallery",
            "kind": "single",
            "price": str(10 + number),
            "brand": "brand-0",
        }

    def draw(self, name: str, number: int) -> None:
        """Another photo, under the same name."""
        write_photo(self.photo(name), scene([number]))

    def photo(self, name: str) -> Path:
        return self.folder / f"images/{name}.png"


def open_shop(root: Path) -> Shop:
    """A served world of six products, two photos each, and its source."""
    return Shop(serve(root))


@contextmanager
def index(workspace: Workspace, name: str = "products") -> Iterator[Gallery]:
    """The index that serves, or another one."""
    with Database(str(workspace.milvus)) as database:
        yield database.gallery(name)


def labels(workspace: Workspace, name: str = "products") -> dict[str, str]:
    """Label of every row of an index by id."""
    with index(workspace, name) as gallery:
        return {hit.id: hit.label for hit in gallery.rows.hits}
