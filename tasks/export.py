"""Stage `export`: the trained networks as a bundle, the folder that is all serving needs.

    python -m tasks.export

Parity with torch is measured on the catalogue's own photos and written into the bundle, as is what
int8 costs where `export.precision` asks for it; the gate reads both.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.backbone import load_backbone
from models.capture import CaptureModel
from models.detector import Detector
from models.onnx_export import HEADS, CaptureHeads, export_capture
from tasks.base.command import run_stage
from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import Arrays, StoredPhotos, capture_inputs
from tasks.calibration.fit import Fitted, fit, fitted_queries
from tasks.calibration.int8 import asked_rows, calibration, cost, see
from tasks.calibration.keypoint_matches import described
from tasks.calibration.parity import Parity, compare
from tasks.calibration.term_weights import DEPTH
from tasks.data.manifest import read_manifest, spread
from tasks.tokens.store import FeatureStore
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.base.errors import UserError
from unbundle.encoding.bundle import (
    BACKBONE,
    CAPTURE,
    DETECTOR,
    FORMAT,
    PROJECTION,
    SETTINGS,
    TOKENIZER,
    BackboneSettings,
    DetectorSettings,
    PrecisionSettings,
)
from unbundle.encoding.image_encoder import session
from unbundle.ranking.embedding import PARTS
from unbundle.vision.imaging import Photo, crops, letterbox, normalise, open_photo
from unbundle.vision.keypoints import Keypoints, KeypointSettings

Outputs = Sequence[NDArray[Any]]

NETWORKS = {"detector": DETECTOR, "backbone": BACKBONE, "capture": CAPTURE}


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


def export(workspace: Workspace, params: Params) -> None:
    """Write `artifacts/bundle/`: three networks, `tokenizer.json`, `bundle.json`.

    Raises:
        UserError: params ask for int8 of a network that is not convolutional.
    """
    manifest = read_manifest(workspace.manifest)
    with atomic_folder(workspace.bundle) as folder:
        exported = {
            "detector": _export_detector(workspace, params, manifest, folder),
            "backbone": _export_backbone(workspace, params, manifest, folder),
            "capture": _export_capture(workspace, params, manifest, folder),
        }
        facts = _facts(workspace, params, folder)
        store = FeatureStore.open(workspace.features)
        stored = _stored(store, folder, params)
        local = _local(workspace, params, manifest, store, folder)
        fitted = fit(stored, manifest, params.export, params.evaluate.match_iou, *local)
        chosen = [name for name, value in params.export.precision if value == "int8"]
        if chosen:
            exact = {name: (folder / NETWORKS[name]).read_bytes() for name in chosen}
            parity = _quantise(chosen, exported, workspace, manifest, store, facts, params, folder)
            seen = _seen(workspace, manifest, facts, folder)
            served = _stored(seen, folder, params)
            loss = cost(manifest, served, stored, fitted, params.evaluate.resamples, params.seed)
            figures = {"networks": parity, "cost": loss}
            if loss is None or loss[f"mAP@{DEPTH}"]["mean"] >= -params.promote.max_int8_loss:
                facts["int8"] = figures
            else:
                facts |= {"declined_int8": figures, "precision": PrecisionSettings().model_dump()}
                for name, content in exact.items():
                    (folder / NETWORKS[name]).write_bytes(content)
        facts |= _learned(facts, fitted)
        facts["parity"] = {name: network.parity.as_json() for name, network in exported.items()}
        names = [*NETWORKS.values(), TOKENIZER, PROJECTION]
        facts["sha256"] = {name: _sha256(folder / name) for name in names}
        content = json.dumps(facts, sort_keys=True).encode()
        write_json(
            folder / SETTINGS,
            {"format": FORMAT, "version": hashlib.sha256(content).hexdigest()[:12], **facts},
        )
    for name, network in exported.items():
        console.print(f"  {NETWORKS[name]}: {network.parity.line()}")
    _print_int8(facts.get("int8") or facts.get("declined_int8"))
    if "declined_int8" in facts:
        limit = params.promote.max_int8_loss
        console.print(f"  more than promote.max_int8_loss, {limit}: the networks stay fp32")
    console.print(f"  weights of the terms: {dict(fitted.weights['both'])} → {workspace.bundle}")


def _print_int8(figures: dict[str, Any] | None) -> None:
    if figures is None:
        return
    cosines = ", ".join(
        f"{name} cosine ≥ {values['min_cosine']:.4f}"
        for name, values in figures["networks"].items()
    )
    loss = figures["cost"]
    measured = (
        "no labelled dev query tells its cost"
        if loss is None
        else "mAP@10 {mean:+.4f} ({low:+.4f} to {high:+.4f})".format(**loss["mAP@10"])
    )
    console.print(f"  int8 against fp32: {cosines}; {measured}")


def _quantise(
    chosen: Sequence[str],
    exported: Mapping[str, Exported],
    workspace: Workspace,
    manifest: pd.DataFrame,
    store: FeatureStore,
    facts: dict[str, Any],
    params: Params,
    folder: Path,
) -> dict[str, Any]:
    """Replace the chosen networks by int8 twins; returns their differences to fp32 by name."""
    from models.quantization import quantise

    images, cut = calibration(
        manifest,
        workspace.catalogue,
        store,
        params.export.calibration_photos,
        DetectorSettings(**facts["detector"]),
        BackboneSettings(**facts["backbone"]),
    )
    batches = {"detector": images, "backbone": cut}
    parity = {}
    for name in chosen:
        path, network = folder / NETWORKS[name], exported[name]
        try:
            quantise(path, batches[name])
        except ValueError as error:
            raise UserError(
                f"params.yaml: export.precision.{name}: {error}; set it to fp32"
            ) from None
        outputs = network.compared(session(path).run(None, network.inputs))
        parity[name] = compare(network.outputs, outputs, network.searched).as_json()
    return parity


def _seen(
    workspace: Workspace, manifest: pd.DataFrame, facts: dict[str, Any], folder: Path
) -> FeatureStore:
    return see(
        asked_rows(manifest),
        workspace.catalogue,
        folder,
        DetectorSettings(**facts["detector"]),
        BackboneSettings(**facts["backbone"]),
    )


def _local(
    workspace: Workspace,
    params: Params,
    manifest: pd.DataFrame,
    store: FeatureStore,
    folder: Path,
) -> tuple[dict[int, Keypoints], KeypointSettings]:
    """Write the projection of descriptors; keypoints of all photos that the fits ask for."""
    settings = params.export.keypoints
    train = spread(manifest[manifest["split"] == "train"], params.export.calibration_photos)
    gallery = manifest[manifest["split"] == "gallery"]
    asked = pd.concat([gallery, fitted_queries(manifest)])
    projection, found = described(asked, train, workspace.catalogue, store, settings)
    np.save(folder / PROJECTION, projection, allow_pickle=False)
    return found, settings


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sample(workspace: Workspace, manifest: pd.DataFrame, count: int) -> list[Photo]:
    images: list[str] = spread(manifest, count)["image"].tolist()
    return [open_photo(workspace.catalogue / image) for image in images]


def _exported(
    path: Path,
    inputs: Arrays,
    expected: Outputs,
    compared: Callable[[Outputs], Outputs],
    searched: bool,
) -> Exported:
    found = compared(session(path).run(None, inputs))
    parity = compare(compared(expected), found, searched)
    return Exported(parity, inputs, found, compared, searched)


def _export_detector(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Exported:
    detector = Detector.from_pretrained(workspace.detector).eval()
    side = params.detect.side
    shutil.copyfile(workspace.detector / DETECTOR, folder / DETECTOR)
    photos = _sample(workspace, manifest, params.export.parity_photos)
    images = np.stack([letterbox(photo, side)[0] for photo in photos])
    with torch.inference_mode():
        boxes, scores = detector(torch.from_numpy(images))

    def compared(outputs: Outputs) -> Outputs:
        # Boxes in units of the input's side, so that one tolerance fits both outputs.
        return [outputs[0] / side, outputs[1]]

    expected = [boxes.numpy(), scores.numpy()]
    return _exported(folder / DETECTOR, {"image": images}, expected, compared, searched=False)


def _export_backbone(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Exported:
    backbone = load_backbone(params.features.backbone, params.features.grid)
    side = params.features.side
    shutil.copyfile(workspace.features / BACKBONE, folder / BACKBONE)
    whole = [
        crops(photo, np.asarray([[0, 0, photo.shape[1], photo.shape[0]]], np.float32), side)
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
        lambda outputs: list(np.split(outputs[0][:, 0], [backbone.features], axis=1)),
        searched=True,
    )


def _export_capture(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Exported:
    capture = CaptureModel.from_pretrained(workspace.capture).eval()
    export_capture(capture, folder / CAPTURE)
    tokenizer = Tokenizer.from_file(str(workspace.capture / TOKENIZER))
    tokenizer.save(str(folder / TOKENIZER))
    store = FeatureStore.open(workspace.features)
    rows = np.linspace(0, len(store.index) - 1, min(len(store.index), params.export.parity_photos))
    captions = manifest.set_index("id")["caption"]
    chosen = [int(row) for row in rows]
    titles = [captions[store.index["id"].iloc[row]] for row in chosen]
    inputs = capture_inputs(store, chosen, titles, tokenizer, params.pretrain.model.title_tokens)
    with torch.inference_mode():
        heads = CaptureHeads(capture)(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    expected = [head.numpy() for head in heads]
    return _exported(folder / CAPTURE, inputs, expected, list, searched=True)


def _facts(workspace: Workspace, params: Params, folder: Path) -> dict[str, Any]:
    backbone = load_backbone(params.features.backbone, params.features.grid)
    return {
        "precision": params.export.precision.model_dump(),
        "detector": {"side": params.detect.side, **params.detect.proposals.model_dump()},
        "backbone": {
            "name": params.features.backbone,
            "side": params.features.side,
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "grid": params.features.grid,
            "dimension": backbone.dimension,
            "features": backbone.features,
        },
        "capture": {
            "title_tokens": params.pretrain.model.title_tokens,
            "regions": params.pretrain.model.regions,
            "dimension": params.pretrain.model.projection,
        },
        "keypoints": params.export.keypoints.model_dump(),
    }


def _learned(facts: dict[str, Any], fitted: Fitted) -> dict[str, Any]:
    backbone, size = facts["backbone"], facts["capture"]["dimension"]
    sizes = {"raw": backbone["features"], "colour": backbone["dimension"] - backbone["features"]}
    return {
        "embedding": {
            "parts": list(PARTS),
            "dimensions": [sizes.get(part, size) for part in PARTS],
            "weights": fitted.weights,
            "fitted_on": {"split": "dev", "queries": fitted.queries, "half": fitted.half}
            if fitted.queries
            else None,
        },
        "verification": fitted.verification,
        "merging": fitted.merging,
        "known": fitted.known,
    }


def _stored(store: FeatureStore, folder: Path, params: Params) -> StoredPhotos:
    capture = session(folder / CAPTURE)
    return StoredPhotos(
        store,
        lambda inputs: capture.run(list(HEADS), inputs),
        Tokenizer.from_file(str(folder / TOKENIZER)),
        params.pretrain.model.title_tokens,
        params.features.batch,
    )


if __name__ == "__main__":
    run_stage(export)
