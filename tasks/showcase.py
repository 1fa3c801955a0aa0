"""Asks the promoted index about a bundle photo that no training saw, as a newcomer would.

python -m tasks.showcase
"""

import shlex

import numpy as np
import pandas as pd

from serving.cli import main
from serving.errors import UserError
from tasks.manifest import read_manifest
from tasks.params import Params
from tasks.progress import console
from tasks.stage import run_stage
from tasks.workspace import Workspace


def showcase(workspace: Workspace, params: Params) -> None:
    """Answer one held-out bundle on the terminal; write `demo/answer.png`.

    Raises:
        UserError: the catalogue has no labelled bundle of three products outside training.
    """
    query = _bundle(read_manifest(workspace.manifest), params.seed)
    picture = workspace.root / "demo/answer.png"
    photo = workspace.catalogue / str(query["image"])
    arguments = ["query", str(photo), "--title", str(query["caption"]), "-k", "3"]
    arguments += ["--picture", str(picture)]
    console.print(f"\n[bold]$ unbundle {shlex.join(arguments)}[/bold]")
    console.print(
        f"in the photo, unknown to unbundle: {', '.join(query['labels'])}\n", markup=False
    )
    main(arguments)


def _bundle(manifest: pd.DataFrame, seed: int) -> "pd.Series[str]":
    held_out = manifest[manifest["split"].isin(["test", "dev"])]
    bundles = held_out[held_out["labels"].map(lambda labels: len(set(labels)) == len(labels) == 3)]
    if bundles.empty:
        raise UserError("no labelled bundle of three products in dev or test; add one to show")
    return bundles.iloc[int(np.random.default_rng(seed).integers(len(bundles)))]


if __name__ == "__main__":
    run_stage(showcase)
