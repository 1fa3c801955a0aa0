"""Stage `catalogue`: brings the products into `data/catalogue`, whatever their source.

- `demo` renders cosmetics (`tasks.demo`).
- `folder` copies a folder in the catalogue format (`tasks.data.catalogue_table`) with the images
  that it names.
- `product1m` reads the published annotation files and gathers or downloads the images
  (`tasks.data.product1m`).

The folder appears whole or not at all. A table that cannot be read fails the stage; an image that
is missing or leads out of the folder is not copied, and validation quarantines its row.

    python -m tasks.catalogue
"""

import shutil
from pathlib import Path

from tasks.base.params import Params
from tasks.base.progress import console, track
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import SPLITS, TABLE, read_rows
from tasks.data.photo_checks import locate
from tasks.data.product1m import write_product1m
from unbundle.base.atomic import atomic_folder
from unbundle.base.errors import UserError


def catalogue(workspace: Workspace, params: Params) -> None:
    """Fill `workspace.catalogue` from the source that the parameters name.

    Raises:
        UserError: the source is missing, or its table cannot be read.
    """
    source = params.catalogue
    with atomic_folder(workspace.catalogue) as folder:
        match source.source:
            case "demo":
                from tasks.demo import render_catalogue

                render_catalogue(folder, source.demo, params.seed)
            case "folder":
                copy_catalogue(source.path, folder)
            case "product1m":
                write_product1m(folder, source, workspace.root / "data/downloads")
        splits = read_rows(folder / TABLE)["split"].value_counts()
    sizes = ", ".join(f"{splits.get(split, 0):,} {split}" for split in SPLITS)
    console.print(f"{splits.sum():,} rows in {workspace.catalogue}: {sizes}")


def copy_catalogue(source: Path, target: Path) -> None:
    """Copy a catalogue's table, and of its images those that rows name and that lie within it.

    Raises:
        UserError: the table is missing or cannot be read.
    """
    table = source / TABLE
    if not table.is_file():
        raise UserError(f"{table}: no such file; correct catalogue.path in params.yaml")
    images = read_rows(table)["image"].unique()
    for image in track(images, "copying images"):
        try:
            file = locate(source, image)
        except ValueError:
            continue
        copy = target / image
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.copyfile(table, target / TABLE)


if __name__ == "__main__":
    run_stage(catalogue)
