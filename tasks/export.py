"""Stage `export`: the trained networks as a bundle, the folder that is all serving needs.

    python -m tasks.export

Parity with torch is measured on the catalogue's own photos and written into the bundle; the gate
reads it.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import torch
from tokenizers import Tokenizer

from models.backbone import load_backbone
from models.capture import CaptureModel
from models.detector import Detector
from models.onnx_export import HEADS, CaptureHeads, export_capture, export_image_network
from serving.atomic import atomic_folder, write_json
from serving.embedding import PARTS
from serving.imaging import Photo, crops, letterbox, normalise, open_photo
from tasks.feature_store import FeatureStore
from tasks.features import BACKBONE
from tasks.fitting import Fitted, fit
from tasks.manifest import read_manifest
from tasks.params import Params
from tasks.parity import Parity, compare
from tasks.progress import console
from tasks.stage import run_stage
from tasks.stored import StoredPhotos, capture_inputs
from tasks.workspace import Workspace

FORMAT = 2
"""Of `bundle.json`; serving refuses one that it does not know."""

NETWORKS = ("detector.onnx", "backbone.onnx", "capture.onnx")


def export(workspace: Workspace, params: Params) -> None:
    """Write `artifacts/bundle/`: three networks, `tokenizer.json`, `bundle.json`."""
    manifest = read_manifest(workspace.manifest)
    with atomic_folder(workspace.bundle) as folder:
        parity = {
            "detector": _export_detector(workspace, params, manifest, folder),
            "backbone": _export_backbone(workspace, params, manifest, folder),
            "capture": _export_capture(workspace, params, manifest, folder),
        }
        facts = _facts(workspace, params, folder)
        fitted = _fit(workspace, params, manifest, folder)
        facts |= _learned(facts, fitted)
        facts["parity"] = {name: figures.as_json() for name, figures in parity.items()}
        names = [*NETWORKS, "tokenizer.json"]
        facts["sha256"] = {name: _sha256(folder / name) for name in names}
        content = json.dumps(facts, sort_keys=True).encode()
        write_json(
            folder / "bundle.json",
            {"format": FORMAT, "version": hashlib.sha256(content).hexdigest()[:12], **facts},
        )
    for name, figures in parity.items():
        console.print(f"  {name}.onnx: {figures.line()}")
    console.print(f"  weights of the terms: {dict(fitted.weights['both'])} → {workspace.bundle}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _sample(workspace: Workspace, manifest: pd.DataFrame, count: int) -> list[Photo]:
    rows = np.linspace(0, len(manifest) - 1, min(count, len(manifest))).astype(int)
    images: list[str] = manifest["image"].iloc[rows].tolist()
    return [open_photo(workspace.catalogue / image) for image in images]


def _export_detector(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Parity:
    detector = Detector.from_pretrained(workspace.detector).eval()
    side = params.detect.side
    export_image_network(detector, folder / NETWORKS[0], "image", side, ["boxes", "scores"])
    photos = _sample(workspace, manifest, params.export.parity_photos)
    images = np.stack([letterbox(photo, side)[0] for photo in photos])
    with torch.inference_mode():
        boxes, scores = detector(torch.from_numpy(images))
    exported = _session(folder / NETWORKS[0]).run(None, {"image": images})
    # Boxes in units of the input's side, so that one tolerance fits both outputs.
    return compare(
        [boxes.numpy() / side, scores.numpy()], [exported[0] / side, exported[1]], retrieve=False
    )


def _export_backbone(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Parity:
    backbone = load_backbone(params.features.backbone, params.features.grid)
    side = params.features.side
    shutil.copyfile(workspace.features / BACKBONE, folder / NETWORKS[1])
    whole = [
        crops(photo, np.asarray([[0, 0, photo.shape[1], photo.shape[0]]], np.float32), side)
        for photo in _sample(workspace, manifest, params.export.parity_photos)
    ]
    inputs = normalise(np.concatenate(whole), backbone.mean, backbone.std)
    with torch.inference_mode():
        tokens = backbone(torch.from_numpy(inputs)).numpy()
    exported = _session(folder / NETWORKS[1]).run(None, {"crops": inputs})[0]
    return compare([tokens[:, 0]], [exported[:, 0]], retrieve=True)


def _export_capture(
    workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path
) -> Parity:
    capture = CaptureModel.from_pretrained(workspace.capture).eval()
    export_capture(capture, folder / NETWORKS[2])
    tokenizer = Tokenizer.from_file(str(workspace.capture / "tokenizer.json"))
    tokenizer.save(str(folder / "tokenizer.json"))
    store = FeatureStore.open(workspace.features)
    rows = np.linspace(0, len(store.index) - 1, min(len(store.index), params.export.parity_photos))
    captions = manifest.set_index("id")["caption"]
    chosen = [int(row) for row in rows]
    titles = [captions[store.index["id"].iloc[row]] for row in chosen]
    inputs = capture_inputs(store, chosen, titles, tokenizer, params.pretrain.model.title_tokens)
    with torch.inference_mode():
        heads = CaptureHeads(capture)(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    exported = _session(folder / NETWORKS[2]).run(None, inputs)
    return compare([head.numpy() for head in heads], exported, retrieve=True)


def _facts(workspace: Workspace, params: Params, folder: Path) -> dict[str, Any]:
    backbone = load_backbone(params.features.backbone, params.features.grid)
    return {
        "detector": {"side": params.detect.side, **params.detect.proposals.model_dump()},
        "backbone": {
            "name": params.features.backbone,
            "side": params.features.side,
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "grid": params.features.grid,
            "dimension": backbone.dimension,
        },
        "capture": {
            "title_tokens": params.pretrain.model.title_tokens,
            "regions": params.pretrain.model.regions,
            "dimension": params.pretrain.model.projection,
        },
    }


def _learned(facts: dict[str, Any], fitted: Fitted) -> dict[str, Any]:
    size = facts["capture"]["dimension"]
    return {
        "embedding": {
            "parts": list(PARTS),
            "dimensions": [facts["backbone"]["dimension"], size, size, size],
            "weights": fitted.weights,
            "fitted_on": {"split": "dev", "queries": fitted.queries} if fitted.queries else None,
        },
        "merging": fitted.merging,
        "known": fitted.known,
    }


def _fit(workspace: Workspace, params: Params, manifest: pd.DataFrame, folder: Path) -> Fitted:
    session = _session(folder / NETWORKS[2])
    stored = StoredPhotos(
        FeatureStore.open(workspace.features),
        lambda inputs: session.run(list(HEADS), inputs),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        params.pretrain.model.title_tokens,
        params.features.batch,
    )
    return fit(stored, manifest, params.export, params.evaluate.match_iou)


if __name__ == "__main__":
    run_stage(export)
