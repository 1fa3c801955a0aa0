"""Stage `views`: products of training photos as bundle photos show them, as visual tokens.

    python -m tasks.views

A gallery photo shows one product large and alone; in a query it is small, turned, half hidden and
on any ground. So each product of a training photo is pasted among others and cut out again by a
box that is as wrong as a detector's. CAPTURE's second pass sees these (`tasks.pairs`): that both
show one product costs no label. Interrupted, the stage goes on with the first missing shard.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.backbone import load_backbone
from serving.atomic import atomic_file
from serving.boxes import Boxes
from serving.imaging import Photo, open_photo
from tasks.cutouts import cut_out, shrink
from tasks.detect import CERTAIN
from tasks.digests import digest
from tasks.feature_store import finish, shard_path, work_folder
from tasks.features import BACKBONE, backbone_session, visual_tokens
from tasks.manifest import read_manifest
from tasks.params import Cutouts, Params
from tasks.progress import console, track
from tasks.scenes import Scenery, seen
from tasks.sprites import Sprite, sprite_of
from tasks.stage import run_stage
from tasks.workspace import Workspace

T = TypeVar("T")


def views(workspace: Workspace, params: Params) -> None:
    """Write `data/views/`, a feature store: `views.count` rows of each single product's photo."""
    boxes = pd.read_parquet(workspace.proposals).drop_duplicates("id").set_index("id")
    manifest = read_manifest(workspace.manifest)
    train = manifest[(manifest["split"] == "train") & (manifest["kind"] != "multi")]
    made = params.detect.cutouts, params.detect.pseudo_bundles
    settings = params.features, params.views, *made, params.seed
    key = digest(workspace.manifest, workspace.proposals, *settings)
    work = work_folder(workspace.checkpoints, "views", key)
    backbone = load_backbone(params.features.backbone, params.features.grid)
    exported = workspace.features / BACKBONE
    session = backbone_session(backbone, exported, params.features.side)
    photos = max(1, params.features.shard_rows // params.views.count)
    numbers = range(-(-len(train) // photos))
    lacking = [number for number in numbers if not shard_path(work, number).exists()]

    def draw(number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        part = train.iloc[number * photos : (number + 1) * photos]
        files = [workspace.catalogue / image for image in part["image"]]
        corners = boxes.loc[part["id"], ["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
        return _seen(files, corners, params, np.random.default_rng([params.seed, number]))

    drawn = _ahead(draw, lacking)
    for number, (cut, places) in zip(
        track(lacking, "views of products, shards"), drawn, strict=True
    ):
        with atomic_file(_places(shard_path(work, number))) as temporary:
            np.save(temporary, places)
        with atomic_file(shard_path(work, number)) as temporary:
            np.save(temporary, visual_tokens(session, backbone, [cut], params.features.batch))
    index = pd.DataFrame({"id": np.repeat(train["id"].to_numpy(object), params.views.count)})
    kept = [np.load(_places(shard_path(work, number))) for number in numbers]
    together = np.concatenate(kept) if kept else np.zeros((0, 5), np.float32)
    finish(work, index, together, photos * params.views.count, workspace.views)
    console.print(f"  {len(index):,} views of {len(train):,} photos → {workspace.views}")


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


def _seen(
    files: Sequence[Path], boxes: Boxes, params: Params, random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    # OpenCV lets go of the interpreter while it cuts.
    with ThreadPoolExecutor() as pool:
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
