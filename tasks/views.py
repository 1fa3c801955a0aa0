"""Stage `views`: products of training photos as bundle photos show them, as visual tokens.

    python -m tasks.views

A gallery photo shows one product large and alone; in a query it is small, turned, half hidden and
on any ground. So each product of a training photo is pasted among others and cut out again by a box
that is as wrong as a detector's. CAPTURE's second pass sees these (`tasks.pretraining.batches`):
that both show one product costs no label. Shards are kept and spread as those of stage `features`.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from onnxruntime import InferenceSession

from models.backbone.network import Backbone, load_backbone
from tasks.base.digests import digest
from tasks.base.import_closure import code_digest
from tasks.base.params import Features, Params
from tasks.base.progress import console, track
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.box_columns import boxes_of
from tasks.data.manifest import read_manifest
from tasks.data.splits import single_photos
from tasks.synthesis.product_views import Drawn, draw_views
from tasks.tokens.run_backbone import BACKBONE, backbone_session, visual_tokens
from tasks.tokens.token_files import FeatureStore
from tasks.tokens.write_shards import begin, finish, missing, prefetched, shard_path, work_folder
from unbundle.base.atomic import atomic_file


def views(workspace: Workspace, params: Params) -> None:
    """Write `data/views/`, a feature store: `views.count` rows of each single product's photo."""
    work, lacking = shard_folder(workspace, params), missing_shards(workspace, params)
    drawn = prefetched(lambda number: _draw(workspace, params, work, number, 0), lacking)
    shards = track(lacking, "views of products, shards")
    for number, views_of_shard in zip(shards, drawn, strict=True):
        _write(workspace, params, work, number, views_of_shard, 0)
    train, photos = _photos(workspace), _photos_a_shard(params)
    index = pd.DataFrame({"id": np.repeat(train["id"].to_numpy(object), params.views.count)})
    numbers = range(-(-len(train) // photos))
    kept = [np.load(_places(shard_path(work, number))) for number in numbers]
    together = np.concatenate(kept) if kept else np.zeros((0, 5), np.float32)
    channels = FeatureStore.open(workspace.features).channels
    shard_rows = photos * params.views.count
    finish(work, index, together, shard_rows, channels, workspace.views)
    console.print(f"  {len(index):,} views of {len(train):,} photos → {workspace.views}")


def missing_shards(workspace: Workspace, params: Params) -> list[int]:
    """Numbers of the shards to write; makes their folder."""
    work = shard_folder(workspace, params)
    begin(work)
    return missing(work, -(-len(_photos(workspace)) // _photos_a_shard(params)))


def write_shard(
    workspace: Workspace, params: Params, work: Path, number: int, threads: int = 0
) -> None:
    """Write one of the `missing_shards`, as `tasks.tokens.write_shards.WriteShard` says."""
    drawn = _draw(workspace, params, work, number, threads)
    _write(workspace, params, work, number, drawn, threads)


def _draw(workspace: Workspace, params: Params, work: Path, number: int, threads: int) -> Drawn:
    train, boxes = _inputs(workspace, work)
    photos = _photos_a_shard(params)
    part = train.iloc[number * photos : (number + 1) * photos]
    files = [workspace.catalogue / image for image in part["image"]]
    corners = boxes_of(boxes.loc[part["id"]])
    random = np.random.default_rng([params.seed, number])
    return draw_views(files, corners, params, random, threads)


def _write(
    workspace: Workspace, params: Params, work: Path, number: int, drawn: Drawn, threads: int
) -> None:
    cut, places = drawn
    backbone, session = _network(work, workspace.features / BACKBONE, params.features, threads)
    tokens = visual_tokens(session, backbone, [cut], params.features.batch)
    path = shard_path(work, number)
    with atomic_file(_places(path)) as temporary:
        np.save(temporary, places)
    with atomic_file(path) as temporary:
        np.save(temporary, tokens)


def shard_folder(workspace: Workspace, params: Params) -> Path:
    """Where the shards of these inputs are gathered."""
    made = params.detect.cutouts, params.detect.pseudo_bundles
    settings = params.features, params.views, *made, params.seed
    key = digest(workspace.manifest, workspace.proposals, *settings, code_digest("tasks.views"))
    return work_folder(workspace.checkpoints, "views", key)


def _photos(workspace: Workspace) -> pd.DataFrame:
    return single_photos(read_manifest(workspace.manifest))


def _photos_a_shard(params: Params) -> int:
    return max(1, params.features.shard_rows // params.views.count)


@lru_cache(maxsize=1)
def _inputs(workspace: Workspace, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    # The name of the work folder changes with the inputs, so what is kept is never stale.
    boxes = pd.read_parquet(workspace.proposals).drop_duplicates("id").set_index("id")
    return _photos(workspace), boxes


@lru_cache(maxsize=1)
def _network(
    work: Path, path: Path, params: Features, threads: int
) -> tuple[Backbone, InferenceSession]:
    # As `_inputs`.
    return load_backbone(params.backbone, params.grid), backbone_session(path, threads)


def _places(shard: Path) -> Path:
    return shard.with_name(f"places-{shard.stem}.npy")


if __name__ == "__main__":
    run_stage(views)
