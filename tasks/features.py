"""Stage `features`: the frozen backbone's visual tokens of every proposal, computed once.

    python -m tasks.features

Shards are written under `data/checkpoints/`, keyed by the inputs' digest, so an interrupted run
goes on with the missing ones, and moved to `data/features/` when all are there. Who writes a shard
does not matter: flows spread them over workers (`flows.running.shard_tasks`).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow.parquet

from models.backbone.colour_histogram import COLOURS
from models.backbone.network import Backbone, load_backbone
from tasks.base.digests import digest
from tasks.base.import_closure import code_digest
from tasks.base.params import Features, Params
from tasks.base.progress import console, track
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.composed_queries import read_rows
from tasks.tokens.run_backbone import (
    BACKBONE,
    backbone_session,
    box_crops,
    box_geometry,
    export_backbone,
    visual_tokens,
)
from tasks.tokens.write_shards import begin, finish, missing, shard_path, work_folder
from unbundle.base.atomic import atomic_file


@dataclass(frozen=True)
class _Inputs:
    """What every shard is made from."""

    proposals: pd.DataFrame
    images: dict[str, str]
    backbone: Backbone
    session: onnxruntime.InferenceSession


def features(workspace: Workspace, params: Params) -> None:
    """Write `data/features/` (see `tasks.tokens.token_files`) for every row of the proposals."""
    work = shard_folder(workspace, params)
    for number in track(missing_shards(workspace, params), "visual tokens, shards"):
        write_shard(workspace, params, work, number)
    proposals = pd.read_parquet(workspace.proposals)
    places = box_geometry(proposals, read_rows(workspace).set_index("id"))
    channels = np.load(shard_path(work, 0), mmap_mode="r").shape[2] - COLOURS
    shard_rows = params.features.shard_rows
    finish(work, proposals, places, shard_rows, channels, workspace.features)
    console.print(
        f"  {len(proposals):,} proposals × {1 + params.features.grid**2} tokens → "
        f"{workspace.features}"
    )


def missing_shards(workspace: Workspace, params: Params) -> list[int]:
    """Numbers of the shards to write; makes what all of them need: folder and network."""
    work = shard_folder(workspace, params)
    begin(work)
    rows = pyarrow.parquet.read_metadata(workspace.proposals).num_rows
    numbers = missing(work, -(-rows // params.features.shard_rows))
    if numbers and not (work / BACKBONE).exists():
        backbone = load_backbone(params.features.backbone, params.features.grid)
        export_backbone(backbone, work / BACKBONE, params.features.image_size)
    return numbers


def write_shard(
    workspace: Workspace, params: Params, work: Path, number: int, threads: int = 0
) -> None:
    """Write one of the `missing_shards`, as `tasks.tokens.write_shards.WriteShard` says."""
    inputs = _inputs(workspace, params.features, work, threads)
    start = number * params.features.shard_rows
    part = inputs.proposals.iloc[start : start + params.features.shard_rows]
    cut = box_crops(workspace.catalogue, part, inputs.images, params.features.image_size)
    tokens = visual_tokens(inputs.session, inputs.backbone, cut, params.features.batch)
    with atomic_file(shard_path(work, number)) as temporary:
        np.save(temporary, tokens)


def shard_folder(workspace: Workspace, params: Params) -> Path:
    """Where the shards of these inputs are gathered."""
    code = code_digest("tasks.features")
    key = digest(workspace.manifest, workspace.proposals, params.features, code)
    return work_folder(workspace.checkpoints, "features", key)


@lru_cache(maxsize=1)
def _inputs(workspace: Workspace, params: Features, work: Path, threads: int) -> _Inputs:
    # The name of the work folder changes with the inputs, so what is kept is never stale.
    manifest = read_rows(workspace)
    return _Inputs(
        pd.read_parquet(workspace.proposals),
        dict(zip(manifest["id"].tolist(), manifest["image"].tolist(), strict=True)),
        load_backbone(params.backbone, params.grid),
        backbone_session(work / BACKBONE, threads),
    )


if __name__ == "__main__":
    run_stage(features)
