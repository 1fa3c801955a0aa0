"""The frozen backbone on ONNX Runtime: visual tokens of boxes."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from models.backbone.network import Backbone, load_backbone
from models.onnx.export import export_image_network
from tasks.base.params import Features
from tasks.base.workspace import Workspace
from tasks.data.box_columns import boxes_of
from tasks.tokens.token_files import FeatureStore
from unbundle.base.atomic import atomic_file
from unbundle.base.onnx_session import open_session
from unbundle.vision.imaging import crops, geometry, normalise, open_photo

BACKBONE = "backbone.onnx"
"""The network in `data/features/`, which the bundle takes over."""


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
    cut = box_crops(workspace.catalogue, proposals, images, params.image_size)
    tokens = visual_tokens(session, backbone, cut, params.batch)
    places = box_geometry(proposals, manifest)
    return FeatureStore(
        proposals.reset_index(drop=True), places, (tokens,), len(tokens), backbone.channels
    )


def box_crops(
    folder: Path, proposals: pd.DataFrame, images: dict[str, str], image_size: int
) -> Iterator[NDArray[np.uint8]]:
    """Crops uint8 RGB `[n, image_size, image_size, 3]` of each photo's boxes, photo by photo.

    Args:
        folder: of the catalogue.
        proposals: columns id, x0, y0, x1, y1 (pixels); the rows of a photo follow each other.
        images: path in the folder by id.
        image_size: of a crop, pixels.
    """
    groups = [(str(photo), rows) for photo, rows in proposals.groupby("id", sort=False)]

    def cut(group: tuple[str, pd.DataFrame]) -> NDArray[np.uint8]:
        photo = open_photo(folder / images[group[0]])
        return crops(photo, boxes_of(group[1]), image_size)

    # One thread decodes the next photos while torch computes.
    with ThreadPoolExecutor(1) as pool:
        yield from pool.map(cut, groups)


def export_backbone(backbone: Backbone, path: Path, image_size: int) -> None:
    """Write the backbone as ONNX.

    Args:
        backbone: the network.
        path: of the file.
        image_size: of its square input, pixels.
    """
    # Twice as fast as torch on a CPU, and the very network that serving runs.
    with atomic_file(path) as temporary:
        export_image_network(backbone, temporary, "crops", image_size, ["tokens"])


def backbone_session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """An exported backbone, ready to run.

    Args:
        path: of the ONNX file.
        threads: that it computes on; 0: all cores.
    """
    return open_session(path, threads or None, accelerated=True)


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
        cut: crops uint8 RGB `[n, image_size, image_size, 3]`, N in all.
        batch: crops that go through at once.
    """
    pixels = np.concatenate(list(cut))
    tokens = []
    for start in range(0, len(pixels), batch):
        inputs = normalise(pixels[start : start + batch], backbone.mean, backbone.std)
        tokens.append(session.run(None, {"crops": inputs})[0].astype(np.float16))
    return np.concatenate(tokens)


def box_geometry(proposals: pd.DataFrame, manifest: pd.DataFrame) -> NDArray[np.float32]:
    """Geometry `[N, 5]` (`imaging.geometry`) of proposals; the manifest is by id."""
    sizes = manifest.loc[proposals["id"], ["width", "height"]].to_numpy(np.int64)
    return geometry(boxes_of(proposals), sizes[:, 0], sizes[:, 1])
