"""Stage `features`: the frozen backbone's visual tokens of every proposal, computed once.

    python -m tasks.features

Shards are written under `data/checkpoints/`, keyed by the inputs' digest, so an interrupted run
goes on with the missing ones, and moved to `data/features/` when all are there. Who writes a shard
does not matter: flows spread them over workers (`flows.running.shards`).
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray

from models.backbone import Backbone, load_backbone
from models.colour import COLOURS
from models.onnx_export import export_image_network
from tasks.base.command import run_stage
from tasks.base.digests import digest
from tasks.base.params import Features, Params
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.tokens.store import FeatureStore, begin, finish, missing, shard_path, work_folder
from unbundle.base.atomic import atomic_file
from unbundle.vision.imaging import crops, geometry, normalise, open_photo

BACKBONE = "backbone.onnx"
"""The network in `data/features/`, which the bundle takes over."""


@dataclass(frozen=True)
class _Inputs:
    """What every shard is made from."""

    proposals: pd.DataFrame
    images: dict[str, str]
    backbone: Backbone
    session: onnxruntime.InferenceSession


def features(workspace: Workspace, params: Params) -> None:
    """Write `data/features/` (see `tasks.tokens.store`) for every row of the proposals."""
    work = shard_folder(workspace, params)
    for number in track(missing_shards(workspace, params), "visual tokens, shards"):
        write_shard(workspace, params, work, number)
    proposals = pd.read_parquet(workspace.proposals)
    places = _places(proposals, read_manifest(workspace.manifest).set_index("id"))
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
        export_backbone(backbone, work / BACKBONE, params.features.side)
    return numbers


def write_shard(
    workspace: Workspace, params: Params, work: Path, number: int, threads: int = 0
) -> None:
    """Write one of the `missing_shards`, as `tasks.tokens.store.WriteShard` says."""
    inputs = _inputs(workspace, params.features, work, threads)
    start = number * params.features.shard_rows
    part = inputs.proposals.iloc[start : start + params.features.shard_rows]
    cut = _crops(workspace.catalogue, part, inputs.images, params.features.side)
    tokens = visual_tokens(inputs.session, inputs.backbone, cut, params.features.batch)
    with atomic_file(shard_path(work, number)) as temporary:
        np.save(temporary, tokens)


def shard_folder(workspace: Workspace, params: Params) -> Path:
    """Where the shards of these inputs are gathered."""
    key = digest(workspace.manifest, workspace.proposals, params.features)
    return work_folder(workspace.checkpoints, "features", key)


@lru_cache(maxsize=1)
def _inputs(workspace: Workspace, params: Features, work: Path, threads: int) -> _Inputs:
    # The name of the work folder changes with the inputs, so what is kept is never stale.
    manifest = read_manifest(workspace.manifest)
    return _Inputs(
        pd.read_parquet(workspace.proposals),
        dict(zip(manifest["id"].tolist(), manifest["image"].tolist(), strict=True)),
        load_backbone(params.backbone, params.grid),
        backbone_session(work / BACKBONE, threads),
    )


def extract(
    workspace: Workspace, proposals: pd.DataFrame, manifest: pd.DataFrame, params: Features
) -> FeatureStore:
    """Visual tokens of some boxes in memory, for comparisons with other boxes than the detector's.

    Args:
        workspace: whose `data/features/` holds the backbone's network.
        proposals: columns id, x0, y0, x1, y1 (pixels), score.
        manifest: by id.
        params: the backbone and its crops.
    """
    backbone = load_backbone(params.backbone, params.grid)
    session = backbone_session(workspace.features / BACKBONE)
    images = dict(zip(manifest.index.tolist(), manifest["image"].tolist(), strict=True))
    cut = _crops(workspace.catalogue, proposals, images, params.side)
    tokens = visual_tokens(session, backbone, cut, params.batch)
    places = _places(proposals, manifest)
    return FeatureStore(
        proposals.reset_index(drop=True), places, (tokens,), len(tokens), backbone.features
    )


def _crops(
    folder: Path, proposals: pd.DataFrame, images: dict[str, str], side: int
) -> Iterator[NDArray[np.uint8]]:
    groups = [(str(photo), rows) for photo, rows in proposals.groupby("id", sort=False)]

    def cut(group: tuple[str, pd.DataFrame]) -> NDArray[np.uint8]:
        photo = open_photo(folder / images[group[0]])
        return crops(photo, group[1][["x0", "y0", "x1", "y1"]].to_numpy(np.float32), side)

    # One thread decodes the next photos while torch computes.
    with ThreadPoolExecutor(1) as pool:
        yield from pool.map(cut, groups)


def export_backbone(backbone: Backbone, path: Path, side: int) -> None:
    """Write the backbone as ONNX.

    Args:
        backbone: the network.
        path: of the file.
        side: of its square input, pixels.
    """
    # Twice as fast as torch on a CPU, and the very network that serving runs.
    with atomic_file(path) as temporary:
        export_image_network(backbone, temporary, "crops", side, ["tokens"])


def backbone_session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """An exported backbone, ready to run.

    Args:
        path: of the ONNX file.
        threads: that it computes on; 0: all cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Other threads decode and draw the next crops meanwhile; a pool that spins would starve them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        path, options, providers=onnxruntime.get_available_providers()
    )


def visual_tokens(
    session: onnxruntime.InferenceSession,
    backbone: Backbone,
    cut: Iterable[NDArray[np.uint8]],
    batch: int,
) -> NDArray[np.float16]:
    """Visual tokens `[N, 1 + grid * grid, dimension]` of crops.

    Args:
        session: the backbone.
        backbone: how its input is normalised.
        cut: crops uint8 RGB `[n, side, side, 3]`, N in all.
        batch: crops that go through at once.
    """
    pixels = np.concatenate(list(cut))
    tokens = []
    for start in range(0, len(pixels), batch):
        inputs = normalise(pixels[start : start + batch], backbone.mean, backbone.std)
        tokens.append(session.run(None, {"crops": inputs})[0].astype(np.float16))
    return np.concatenate(tokens)


def _places(proposals: pd.DataFrame, manifest: pd.DataFrame) -> NDArray[np.float32]:
    sizes = manifest.loc[proposals["id"], ["width", "height"]].to_numpy(np.int64)
    boxes = proposals[["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
    return geometry(boxes, sizes[:, 0], sizes[:, 1])


if __name__ == "__main__":
    run_stage(features)
