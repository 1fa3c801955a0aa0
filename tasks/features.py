"""Stage `features`: the frozen backbone's visual tokens of every proposal, computed once.

    python -m tasks.features

Shards are written under `data/checkpoints/`, keyed by the inputs' digest, so an interrupted run
goes on with the first missing shard, and moved to `data/features/` when all are there.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from models.backbone import Backbone, load_backbone
from models.onnx_export import export_image_network
from serving.atomic import atomic_file, write_json
from serving.imaging import crops, geometry, normalise, open_photo
from tasks.digests import digest
from tasks.feature_store import FeatureStore
from tasks.manifest import read_manifest
from tasks.params import Features, Params
from tasks.progress import console, track
from tasks.stage import run_stage
from tasks.workspace import Workspace

BACKBONE = "backbone.onnx"
"""The network in `data/features/`, which the bundle takes over."""


def features(workspace: Workspace, params: Params) -> None:
    """Write `data/features/` (see `tasks.feature_store`) for every row of the proposals."""
    proposals = pd.read_parquet(workspace.proposals)
    manifest = read_manifest(workspace.manifest).set_index("id")
    work = _work_folder(workspace, params.features)
    images = dict(zip(manifest.index.tolist(), manifest["image"].tolist(), strict=True))
    backbone = load_backbone(params.features.backbone, params.features.grid)
    session = _session(backbone, work / BACKBONE, params.features.side)
    starts = range(0, len(proposals), params.features.shard_rows)
    for start in track(starts, "visual tokens, shards"):
        path = work / f"tokens-{start // params.features.shard_rows:05d}.npy"
        if not path.exists():
            part = proposals.iloc[start : start + params.features.shard_rows]
            cut = _crops(workspace.catalogue, part, images, params.features.side)
            with atomic_file(path) as temporary:
                np.save(temporary, _tokens(session, backbone, cut, params.features.batch))
    _finish(work, proposals, manifest, params.features)
    shutil.rmtree(workspace.features, ignore_errors=True)
    work.replace(workspace.features)
    console.print(
        f"  {len(proposals):,} proposals × {1 + params.features.grid**2} tokens × "
        f"{backbone.dimension} → {workspace.features}"
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
    session = _session(backbone, workspace.features / BACKBONE, params.side)
    images = dict(zip(manifest.index.tolist(), manifest["image"].tolist(), strict=True))
    cut = _crops(workspace.catalogue, proposals, images, params.side)
    tokens = _tokens(session, backbone, cut, params.batch)
    sizes = manifest.loc[proposals["id"], ["width", "height"]].to_numpy(np.int64)
    boxes = proposals[["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
    places = geometry(boxes, sizes[:, 0], sizes[:, 1])
    return FeatureStore(proposals.reset_index(drop=True), places, (tokens,), len(tokens))


def _work_folder(workspace: Workspace, params: Features) -> Path:
    key = digest(workspace.manifest, workspace.proposals, params)[:16]
    work = workspace.checkpoints / f"features-{key}"
    for stale in workspace.checkpoints.glob("features-*"):
        if stale != work:
            shutil.rmtree(stale)
    work.mkdir(parents=True, exist_ok=True)
    return work


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


def _session(backbone: Backbone, path: Path, side: int) -> onnxruntime.InferenceSession:
    # Twice as fast as torch on a CPU, and the very network that serving runs.
    if not path.exists():
        with atomic_file(path) as temporary:
            export_image_network(backbone, temporary, "crops", side, ["tokens"])
    return onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())


def _tokens(
    session: onnxruntime.InferenceSession,
    backbone: Backbone,
    cut: Iterator[NDArray[np.uint8]],
    batch: int,
) -> NDArray[np.float16]:
    pixels = np.concatenate(list(cut))
    tokens = []
    for start in range(0, len(pixels), batch):
        inputs = normalise(pixels[start : start + batch], backbone.mean, backbone.std)
        tokens.append(session.run(None, {"crops": inputs})[0].astype(np.float16))
    return np.concatenate(tokens)


def _finish(work: Path, proposals: pd.DataFrame, manifest: pd.DataFrame, params: Features) -> None:
    sizes = manifest.loc[proposals["id"], ["width", "height"]].to_numpy(np.int64)
    boxes = proposals[["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
    with atomic_file(work / "geometry.npy") as temporary:
        np.save(temporary, geometry(boxes, sizes[:, 0], sizes[:, 1]))
    with atomic_file(work / "index.parquet") as temporary:
        proposals.to_parquet(temporary, index=False)
    write_json(work / "features.json", params.model_dump())


if __name__ == "__main__":
    run_stage(features)
