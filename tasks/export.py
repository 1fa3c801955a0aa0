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
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.backbone import load_backbone
from models.capture import CaptureModel
from models.detector import Detector
from models.onnx_export import CaptureHeads, export_capture, export_image_network
from models.tokenizer import PAD
from serving.atomic import atomic_folder, write_json
from serving.embedding import PARTS, Vectors, unit
from serving.imaging import Photo, crops, letterbox, normalise, open_photo
from tasks.feature_store import FeatureStore
from tasks.features import BACKBONE
from tasks.manifest import read_manifest
from tasks.params import Params
from tasks.parity import Parity, compare
from tasks.progress import console, track
from tasks.splits import is_fitted
from tasks.stage import run_stage
from tasks.weights import DevQuery, fit_weights
from tasks.workspace import Workspace

Arrays = dict[str, NDArray[Any]]

FORMAT = 1
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
        facts["embedding"] = _embedding(workspace, params, manifest, folder, facts)
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
    console.print(f"  weights of the parts: {facts['embedding']['weights']} → {workspace.bundle}")


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


def capture_inputs(
    store: FeatureStore, rows: list[int], titles: list[str], tokenizer: Tokenizer, length: int
) -> Arrays:
    """Inputs of `capture.onnx` for stored proposals, one title each ("" for none)."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(PAD), pad_token=PAD)
    encoded = tokenizer.encode_batch(titles)
    named = np.asarray([bool(title.strip()) for title in titles], np.int64)[:, None]
    visual = store.tokens(rows).astype(np.float32)
    return {
        "input_ids": np.asarray([title.ids for title in encoded], np.int64),
        "attention_mask": np.asarray([title.attention_mask for title in encoded]) * named,
        "visual": visual,
        "geometry": np.repeat(store.geometry[rows][:, None], visual.shape[1], axis=1),
        "visual_mask": np.ones(visual.shape[:2], np.int64),
    }


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


class _Encoder:
    """The parts of stored proposals by the exported network."""

    def __init__(self, workspace: Workspace, params: Params, folder: Path) -> None:
        self.store = FeatureStore.open(workspace.features)
        self.session = _session(folder / NETWORKS[2])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.params = params

    def parts(
        self, rows: list[int], titles: list[str], photo: bool = True, label: str = "parts"
    ) -> dict[str, Vectors]:
        """Unit rows `[N, d_p]` by part; without the photo the visual ones are zero."""
        outputs: list[list[Vectors]] = []
        batch = self.params.features.batch
        for start in track(range(0, len(rows), batch), label):
            chosen, named = rows[start : start + batch], titles[start : start + batch]
            length = self.params.pretrain.model.title_tokens
            inputs = capture_inputs(self.store, chosen, named, self.tokenizer, length)
            inputs["visual_mask"] *= photo
            raw = inputs["visual"][:, 0] * photo
            visual, text, joint = self.session.run(None, inputs)
            shown = inputs["attention_mask"].any(axis=1, keepdims=True)
            outputs.append([unit(raw), visual * photo, text * shown, joint])
        return {
            part: np.concatenate([block[place] for block in outputs])
            for place, part in enumerate(PARTS)
        }


def _embedding(
    workspace: Workspace,
    params: Params,
    manifest: pd.DataFrame,
    folder: Path,
    facts: dict[str, Any],
) -> dict[str, Any]:
    size = facts["capture"]["dimension"]
    embedding: dict[str, Any] = {
        "parts": list(PARTS),
        "dimensions": [facts["backbone"]["dimension"], size, size, size],
    }
    defaults = params.export.weights.model_dump()
    dev = manifest[(manifest["split"] == "dev") & manifest["labels"].map(len).gt(0)]
    dev = dev[dev["id"].map(is_fitted)]
    gallery = manifest[manifest["split"] == "gallery"]
    if dev.empty or gallery.empty:
        weights = defaults
        embedding["fitted_on"] = None
    else:
        encoder = _Encoder(workspace, params, folder)
        weights = _fitted(encoder, dev, gallery, defaults, params)
        embedding["fitted_on"] = {"split": "dev", "queries": len(dev)}
    embedding["weights"] = {
        name: [round(values[part], 6) for part in PARTS] for name, values in weights.items()
    }
    return embedding


def _fitted(
    encoder: _Encoder,
    dev: pd.DataFrame,
    gallery: pd.DataFrame,
    defaults: dict[str, dict[str, float]],
    params: Params,
) -> dict[str, dict[str, float]]:
    rows_by_id = encoder.store.rows_by_id()
    best = [rows_by_id[item][0] for item in gallery["id"]]
    gallery_parts = encoder.parts(best, list(gallery["caption"]), label="gallery")
    gallery_ids: list[str] = gallery["id"].tolist()
    gallery_labels = [labels[0] for labels in gallery["labels"]]
    asked = list(zip(dev["id"].tolist(), dev["caption"].tolist(), dev["labels"], strict=True))
    fitted = {}
    for mode, start in defaults.items():
        rows: list[int] = []
        titles: list[str] = []
        queries: list[DevQuery] = []
        for photo, caption, labels in asked:
            mine = rows_by_id[photo] if mode != "title" else rows_by_id[photo][:1]
            places = np.arange(len(rows), len(rows) + len(mine))
            queries.append(DevQuery(frozenset(labels), places))
            rows += mine
            titles += [caption if mode != "photo" else ""] * len(mine)
        parts = encoder.parts(rows, titles, photo=mode != "title", label=f"dev, {mode}")
        fitted[mode] = fit_weights(
            queries, parts, gallery_parts, gallery_ids, gallery_labels, start, params.export.grid
        )
    return fitted


if __name__ == "__main__":
    run_stage(export)
