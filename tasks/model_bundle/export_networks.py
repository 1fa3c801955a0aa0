"""The trained networks as ONNX files of a bundle, each compared with torch."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.backbone.network import load_backbone
from models.capture.network import CaptureModel
from models.capture.onnx_heads import CaptureHeads, export_capture
from models.detector.network import Detector
from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import stored_visual
from tasks.data.splits import spread
from tasks.model_bundle.parity import compare
from tasks.tokens.token_files import FeatureStore
from unbundle.base.onnx_session import open_session
from unbundle.encoding.capture_inputs import Arrays, capture_inputs, title_tokenizer
from unbundle.encoding.model_bundle import (
    BACKBONE,
    CAPTURE,
    DETECTOR,
    TOKENIZER,
    BackboneSettings,
    CaptureSettings,
    DetectorSettings,
    Parity,
)
from unbundle.encoding.untrained_parts import UntrainedParts
from unbundle.vision.imaging import Photo, crops, letterbox, normalise, open_photo

FILES = {"detector": DETECTOR, "backbone": BACKBONE, "capture": CAPTURE}
"""Of a bundle's folder, by network."""

Outputs = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class NetworkSettings:
    """What serving needs to know of the networks, as the bundle says it."""

    detector: DetectorSettings
    backbone: BackboneSettings
    capture: CaptureSettings

    def dimensions(self, parts: Sequence[str], untrained: UntrainedParts) -> tuple[int, ...]:
        """Numbers in each of some parts of the embedding."""
        sizes = {
            "raw": untrained.axes.shape[1],
            "colour": self.backbone.dimension - self.backbone.channels,
            "lexical": untrained.tfidf.dimension,
        }
        return tuple(sizes.get(part, self.capture.dimension) for part in parts)


def network_settings(params: Params) -> NetworkSettings:
    """Settings of the networks that these parameters train."""
    backbone = load_backbone(params.features.backbone, params.features.grid)
    sizes = params.pretrain.model
    return NetworkSettings(
        DetectorSettings(
            image_size=params.detect.image_size, **params.detect.proposals.model_dump()
        ),
        BackboneSettings(
            name=params.features.backbone,
            image_size=params.features.image_size,
            mean=backbone.mean,
            std=backbone.std,
            grid=params.features.grid,
            dimension=backbone.dimension,
            channels=backbone.channels,
        ),
        CaptureSettings(
            title_tokens=sizes.title_tokens, regions=sizes.regions, dimension=sizes.projection
        ),
    )


@dataclass(frozen=True)
class Exported:
    """A network of the bundle, fp32.

    Attributes:
        parity: with torch.
        inputs: that it was compared on.
        outputs: what it gave for them, as they are compared.
        compared: from what ONNX Runtime returns to such outputs.
        searched: whether they are embeddings whose neighbours matter.
    """

    parity: Parity
    inputs: Arrays
    outputs: Outputs
    compared: Callable[[Outputs], Outputs]
    searched: bool


def _sample(workspace: Workspace, manifest: pd.DataFrame, count: int) -> list[Photo]:
    images: list[str] = manifest["image"].iloc[spread(len(manifest), count)].tolist()
    return [open_photo(workspace.catalogue / image) for image in images]


def _exported(
    path: Path,
    inputs: Arrays,
    expected: Outputs,
    compared: Callable[[Outputs], Outputs],
    searched: bool,
) -> Exported:
    found = compared(open_session(path).run(None, inputs))
    parity = compare(compared(expected), found, searched)
    return Exported(parity, inputs, found, compared, searched)


def bundle_detector(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Exported:
    """The trained detector in a bundle's folder, compared with torch on the catalogue's photos.

    Args:
        workspace: of the trained networks, manifest and features.
        params: input sizes, and how many photos are compared.
        manifest: whose photos are compared, evenly spread.
        folder: of the bundle, which the file goes into.
    """
    detector = Detector.from_pretrained(workspace.detector).eval()
    size = params.detect.image_size
    shutil.copyfile(workspace.detector_network, folder / DETECTOR)
    photos = _sample(workspace, manifest, params.export.parity_photos)
    images = np.stack([letterbox(photo, size)[0] for photo in photos])
    with torch.inference_mode():
        boxes, scores = detector(torch.from_numpy(images))

    def compared(outputs: Outputs) -> Outputs:
        # Boxes in units of the image size, so that one tolerance fits both outputs.
        return [outputs[0] / size, outputs[1]]

    expected = [boxes.numpy(), scores.numpy()]
    return _exported(folder / DETECTOR, {"image": images}, expected, compared, searched=False)


def bundle_backbone(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Exported:
    """The trained backbone in a bundle's folder, compared with torch on the catalogue's photos.

    Args:
        workspace: of the trained networks, manifest and features.
        params: input sizes, and how many photos are compared.
        manifest: whose photos are compared, evenly spread.
        folder: of the bundle, which the file goes into.
    """
    backbone = load_backbone(params.features.backbone, params.features.grid)
    size = params.features.image_size
    shutil.copyfile(workspace.features / BACKBONE, folder / BACKBONE)
    whole = [
        crops(photo, np.asarray([[0, 0, photo.shape[1], photo.shape[0]]], np.float32), size)
        for photo in _sample(workspace, manifest, params.export.parity_photos)
    ]
    inputs = normalise(np.concatenate(whole), backbone.mean, backbone.std)
    with torch.inference_mode():
        tokens = backbone(torch.from_numpy(inputs)).numpy()
    return _exported(
        folder / BACKBONE,
        {"crops": inputs},
        [tokens],
        # The colours are no estimate: together they would hide what the feature map lost.
        lambda outputs: list(np.split(outputs[0][:, 0], [backbone.channels], axis=1)),
        searched=True,
    )


def bundle_capture(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Exported:
    """The trained CAPTURE and its tokenizer in a bundle's folder, compared with torch.

    Args:
        workspace: of the trained networks, manifest and features.
        params: input sizes, and how many photos are compared.
        manifest: whose photos are compared, evenly spread.
        folder: of the bundle, which the file goes into.
    """
    capture = CaptureModel.from_pretrained(workspace.capture).eval()
    export_capture(capture, folder / CAPTURE)
    tokenizer = Tokenizer.from_file(str(workspace.capture / TOKENIZER))
    tokenizer.save(str(folder / TOKENIZER))
    store = FeatureStore.open(workspace.features)
    captions = manifest.set_index("id")["caption"]
    chosen = spread(len(store.index), params.export.parity_photos)
    titles = [captions[store.index["id"].iloc[row]] for row in chosen]
    tokenizer = title_tokenizer(tokenizer, params.pretrain.model.title_tokens)
    inputs = capture_inputs(stored_visual(store, chosen), titles, tokenizer)
    with torch.inference_mode():
        heads = CaptureHeads(capture)(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    expected = [head.numpy() for head in heads]
    return _exported(folder / CAPTURE, inputs, expected, list, searched=True)
