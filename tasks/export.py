"""Stage `export`: the trained networks as a bundle, the folder that is all serving needs.

    python -m tasks.export

Parity with torch is measured on the catalogue's own photos and written into the bundle, as is what
int8 costs where `export.precision` asks for it; the gate reads both.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from models.backbone.network import load_backbone
from tasks.base.command import run_stage
from tasks.base.params import DEPTH, Params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.bundling.int8 import asked_rows, calibration, cost, see
from tasks.bundling.networks import Exported, bundle_backbone, bundle_capture, bundle_detector
from tasks.bundling.parity import compare
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.calibration.fit import Fitted, fit, fitted_queries
from tasks.calibration.keypoint_matches import described, keypoint_settings
from tasks.data.manifest import read_manifest
from tasks.data.splits import rows_of, spread
from tasks.tokens.store import FeatureStore
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.base.errors import UserError
from unbundle.base.onnx_session import open_session
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
from unbundle.encoding.capture import OUTPUTS
from unbundle.ranking.embedding import PARTS
from unbundle.vision.keypoints import Keypoints, KeypointSettings

NETWORKS = {"detector": DETECTOR, "backbone": BACKBONE, "capture": CAPTURE}


def export(workspace: Workspace, params: Params) -> None:
    """Write `artifacts/bundle/`: three networks, `tokenizer.json`, `bundle.json`.

    Raises:
        UserError: params ask for int8 of a network that is not convolutional.
    """
    manifest = read_manifest(workspace.manifest)
    with atomic_folder(workspace.bundle) as folder:
        exported = {
            "detector": bundle_detector(workspace, params, manifest, folder),
            "backbone": bundle_backbone(workspace, params, manifest, folder),
            "capture": bundle_capture(workspace, params, manifest, folder),
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
    from models.onnx.quantization import quantise

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
        outputs = network.compared(open_session(path).run(None, network.inputs))
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
    settings = keypoint_settings(params)
    train = rows_of(manifest, "train")
    sample = train.iloc[spread(len(train), params.export.calibration_photos)]
    asked = pd.concat([rows_of(manifest, "gallery"), fitted_queries(manifest)])
    projection, found = described(asked, sample, workspace.catalogue, store, settings)
    np.save(folder / PROJECTION, projection, allow_pickle=False)
    return found, settings


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _facts(workspace: Workspace, params: Params, folder: Path) -> dict[str, Any]:
    backbone = load_backbone(params.features.backbone, params.features.grid)
    return {
        "precision": params.export.precision.model_dump(),
        "detector": {"side": params.detect.image_size, **params.detect.proposals.model_dump()},
        "backbone": {
            "name": params.features.backbone,
            "side": params.features.image_size,
            "mean": list(backbone.mean),
            "std": list(backbone.std),
            "grid": params.features.grid,
            "dimension": backbone.dimension,
            "features": backbone.channels,
        },
        "capture": {
            "title_tokens": params.pretrain.model.title_tokens,
            "regions": params.pretrain.model.regions,
            "dimension": params.pretrain.model.projection,
        },
        "keypoints": keypoint_settings(params).model_dump(),
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
    capture = open_session(folder / CAPTURE)
    return StoredPhotos(
        store,
        lambda inputs: capture.run(list(OUTPUTS), inputs),
        Tokenizer.from_file(str(folder / TOKENIZER)),
        params.pretrain.model.title_tokens,
        params.features.batch,
    )


if __name__ == "__main__":
    run_stage(export)
