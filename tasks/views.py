"""Stage `views`: products of training photos as bundle photos show them, as visual tokens.

    python -m tasks.views

A gallery photo shows one product large and alone; in a query it is small, turned, half hidden and
on any ground. So each product of a training photo is pasted among others and cut out again by a box
that is as wrong as a detector's. CAPTURE's second pass sees these (`tasks.pretraining.batches`):
that both show one product costs no label. Shards are kept and spread as those of stage `features`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from models.backbone import Backbone, load_backbone
from tasks.base.command import run_stage
from tasks.base.digests import digest
from tasks.base.params import Cutouts, Features, Params
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.detect import CERTAIN
from tasks.features import BACKBONE, backbone_session, visual_tokens
from tasks.synthesis.cutouts import cut_out, shrink
from tasks.synthesis.product_views import Scenery, seen
from tasks.synthesis.sprites import Sprite, sprite_of
from tasks.tokens.store import FeatureStore, begin, finish, missing, shard_path, work_folder
from unbundle.base.atomic import atomic_file
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo, open_photo

T = TypeVar("T")
Drawn = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Crops of a shard's views, and their places."""


def views(workspace: Workspace, params: Params) -> None:
    """Write `data/views/`, a feature store: `views.count` rows of each single product's photo."""
    work, lacking = shard_folder(workspace, params), missing_shards(workspace, params)
    drawn = _ahead(lambda number: _draw(workspace, params, work, number, 0), lacking)
    shards = track(lacking, "views of products, shards")
    for number, views_of_shard in zip(shards, drawn, strict=True):
        _write(workspace, params, work, number, views_of_shard, 0)
    train, photos = _photos(workspace), _photos_a_shard(params)
    index = pd.DataFrame({"id": np.repeat(train["id"].to_numpy(object), params.views.count)})
    numbers = range(-(-len(train) // photos))
    kept = [np.load(_places(shard_path(work, number))) for number in numbers]
    together = np.concatenate(kept) if kept else np.zeros((0, 5), np.float32)
    channels = FeatureStore.open(workspace.features).features
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
    """Write one of the `missing_shards`, as `tasks.tokens.store.WriteShard` says."""
    drawn = _draw(workspace, params, work, number, threads)
    _write(workspace, params, work, number, drawn, threads)


def _ahead(draw: Callable[[int], T], numbers: Sequence[int]) -> Iterator[T]:
    """What `draw` makes of each number, the next one's while the caller works on this one's."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[T]] = deque()
        for number in numbers:
            waiting.append(pool.submit(draw, number))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _draw(workspace: Workspace, params: Params, work: Path, number: int, threads: int) -> Drawn:
    train, boxes = _inputs(workspace, work)
    photos = _photos_a_shard(params)
    part = train.iloc[number * photos : (number + 1) * photos]
    files = [workspace.catalogue / image for image in part["image"]]
    corners = boxes.loc[part["id"], ["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
    random = np.random.default_rng([params.seed, number])
    return _seen(files, corners, params, random, threads)


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
    key = digest(workspace.manifest, workspace.proposals, *settings)
    return work_folder(workspace.checkpoints, "views", key)


def _photos(workspace: Workspace) -> pd.DataFrame:
    manifest = read_manifest(workspace.manifest)
    return manifest[(manifest["split"] == "train") & (manifest["kind"] != "multi")]


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


def _seen(
    files: Sequence[Path],
    boxes: Boxes,
    params: Params,
    random: np.random.Generator,
    threads: int,
) -> Drawn:
    # OpenCV lets go of the interpreter while it cuts.
    with ThreadPoolExecutor(threads or None) as pool:
        pairs = list(pool.map(partial(_product, params=params.detect.cutouts), files, boxes))
    products = [product for product, _ in pairs]
    rooms = [room for _, room in pairs][: params.detect.pseudo_bundles.photos]
    scenery = Scenery(products, rooms, params.views, params.detect.pseudo_bundles)
    side = params.features.side
    shown = [
        seen(product, scenery, side, random)
        for product in products
        for _ in range(params.views.count)
    ]
    return np.stack([crop for crop, _ in shown]), np.stack([place for _, place in shown])


def _product(file: Path, box: NDArray[np.float32], params: Cutouts) -> tuple[Sprite, Photo]:
    """What a photo shows, and the photo, scaled down; its box as it is where it cannot be cut."""
    photo = open_photo(file)
    cutout = cut_out(photo, params, CERTAIN)
    if cutout is not None:
        return sprite_of(cutout), cutout.photo
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    part = shrink(photo[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], params.side)
    return Sprite(part, np.full(part.shape[:2], 255, np.uint8)), shrink(photo, params.side)


def _places(shard: Path) -> Path:
    return shard.with_name(f"places-{shard.stem}.npy")


if __name__ == "__main__":
    run_stage(views)
