"""Asks the promoted index about a bundle photo that no training saw, as a newcomer would.

python -m tasks.demo.answer_a_photo
"""

import shlex
import shutil

import numpy as np
import pandas as pd

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import QUERIES
from tasks.data.manifest import read_manifest
from tasks.data.splits import rows_of
from unbundle.base.errors import UserError
from unbundle.cli import main

SAMPLES = 6


def showcase(workspace: Workspace, params: Params) -> None:
    """Answer one held-out bundle on the terminal; write `demo/answer.png` and the page's samples.

    Raises:
        UserError: the catalogue has no labelled bundle of three products outside training.
    """
    bundles = _bundles(read_manifest(workspace.manifest), params.seed)
    _write_samples(workspace, bundles.head(SAMPLES))
    query = bundles.iloc[0]
    picture = workspace.root / "demo/answer.png"
    photo = workspace.catalogue / str(query["image"])
    arguments = ["query", str(photo), "--title", str(query["caption"]), "-k", "3"]
    arguments += ["--picture", str(picture)]
    console.print(f"\n[bold]$ unbundle {shlex.join(arguments)}[/bold]")
    console.print(
        f"in the photo, unknown to unbundle: {', '.join(query['labels'])}\n", markup=False
    )
    main(arguments)


def _write_samples(workspace: Workspace, bundles: pd.DataFrame) -> None:
    workspace.samples.mkdir(parents=True, exist_ok=True)
    for number, (_, row) in enumerate(bundles.iterrows(), 1):
        photo = workspace.catalogue / str(row["image"])
        sample = workspace.samples / f"{number:02}{photo.suffix}"
        shutil.copyfile(photo, sample)
        sample.with_suffix(".txt").write_text(f"{row['caption']}\n", encoding="utf-8")


def _bundles(manifest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Held-out bundles of three products, in an order of the seed."""
    held_out = rows_of(manifest, *QUERIES)
    bundles = held_out[held_out["labels"].map(lambda labels: len(set(labels)) == len(labels) == 3)]
    if bundles.empty:
        raise UserError("no labelled bundle of three products in dev or test; add one to show")
    first = int(np.random.default_rng(seed).integers(len(bundles)))
    return pd.concat([bundles.iloc[first:], bundles.iloc[:first]])


if __name__ == "__main__":
    run_stage(showcase)
