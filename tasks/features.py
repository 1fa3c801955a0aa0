"""Stage `features`: the frozen backbone's visual tokens of every proposal, computed once.

    python -m tasks.features

Shards are written under `data/checkpoints/`, keyed by the inputs' digest, so an interrupted run
goes on with the first missing shard, and moved to `data/features/` when all are there.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from models.backbone import Backbone, load_backbone
from models.onnx_export import export_image_network
from serving.atomic import atomic_file
from serving.imaging import crops, geometry, normalise, open_photo
from tasks.digests import digest
from tasks.feature_store import FeatureStore, finish, shard_path, work_folder
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
    key = digest(workspace.manifest, workspace.proposals, params.features)
    work = work_folder(workspace.checkpoints, "features", key)
    images = dict(zip(manifest.index.tolist(), manifest["image"].tolist(), strict=True))
    backbone = load_backbone(params.features.backbone, params.features.grid)
    session = backbone_session(backbone, work / BACKBONE, params.features.side)
    starts = range(0, len(proposals), params.features.shard_rows)
    for start in track(starts, "visual tokens, shards"):
        path = shard_path(work, start // params.features.shard_rows)
        if not path.exists():
            part = proposals.iloc[start : start + params.features.shard_rows]
            cut = _crops(workspace.catalogue, part, images, params.features.side)
            with atomic_file(path) as temporary:
                np.save(temporary, visual_tokens(session, backbone, cut, params.features.batch))
    places = _places(proposals, manifest)
    finish(work, proposals, places, params.features.shard_rows, workspace.features)
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
    session = backbone_session(backbone, workspace.features / BACKBONE, params.side)
    images = dict(zip(manifest.index.tolist(), manifest["image"].tolist(), strict=True))
    cut = _crops(workspace.catalogue, proposals, images, params.side)
    tokens = visual_tokens(session, backbone, cut, params.batch)
    places = _places(proposals, manifest)
    return FeatureStore(proposals.reset_index(drop=True), places, (tokens,), len(tokens))


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


def backbone_session(backbone: Backbone, path: Path, side: int) -> onnxruntime.InferenceSession:
    """The backbone as ONNX, exported to `path` where it is not there yet.

    Args:
        backbone: the network.
        path: of the ONNX file.
        side: of its square input, pixels.
    """
    # Twice as fast as torch on a CPU, and the very network that serving runs.
    if not path.exists():
        with atomic_file(path) as temporary:
            export_image_network(backbone, temporary, "crops", side, ["tokens"])
    return onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())


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
