"""Stage `export`: the trained networks as a bundle, the folder that is all serving needs.

    python -m tasks.export

Parity with torch is measured on the catalogue's own photos and written into the bundle, as is what
int8 costs where `export.precision` asks for it; the gate reads both.
"""

import numpy as np

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.calibration.fit import fit, fitted_keypoints
from tasks.calibration.fit_untrained_parts import fit_untrained_parts
from tasks.calibration.keypoint_matches import keypoint_settings
from tasks.data.composed_queries import read_rows
from tasks.model_bundle.choose_precision import choose_precision, stored_photos
from tasks.model_bundle.export_networks import (
    FILES,
    bundle_backbone,
    bundle_capture,
    bundle_detector,
    network_settings,
)
from tasks.model_bundle.parity import parity_line
from tasks.tokens.token_files import FeatureStore
from unbundle.base.atomic import atomic_folder
from unbundle.encoding.model_bundle import (
    PROJECTION,
    BundleContent,
    EmbeddingSettings,
    Int8Figures,
)
from unbundle.ranking.embedding_parts import PARTS


def export(workspace: Workspace, params: Params) -> None:
    """Write `artifacts/bundle/`: three networks, what stands beside them, and `bundle.json`.

    Raises:
        UserError: params ask for int8 of a network that is not convolutional.
    """
    manifest = read_rows(workspace)
    with atomic_folder(workspace.bundle) as folder:
        exported = {
            "detector": bundle_detector(workspace, params, manifest, folder),
            "backbone": bundle_backbone(workspace, params, manifest, folder),
            "capture": bundle_capture(workspace, params, manifest, folder),
        }
        networks = network_settings(params)
        store = FeatureStore.open(workspace.features)
        local = keypoint_settings(params)
        projection, keypoints = fitted_keypoints(
            manifest, workspace.catalogue, store, local, params.export.calibration_photos
        )
        np.save(folder / PROJECTION, projection, allow_pickle=False)
        untrained = fit_untrained_parts(store, manifest, params.export.lexical_dimension)
        untrained.save(folder)
        stored = stored_photos(store, folder, params)
        iou = params.evaluate.match_iou
        fitted = fit(stored, manifest, params.export, iou, keypoints, local)
        served = choose_precision(
            exported, networks, stored, fitted, workspace, manifest, params, folder
        )
        content = BundleContent(
            precision=served.precision,
            detector=networks.detector,
            backbone=networks.backbone,
            capture=networks.capture,
            keypoints=local,
            int8=served.int8,
            declined_int8=served.declined,
            embedding=EmbeddingSettings(
                parts=PARTS,
                dimensions=networks.dimensions(PARTS, untrained),
                weights=fitted.weights,
                fitted_on=fitted.fitted_on,
            ),
            verification=fitted.verification,
            expansion=fitted.expansion,
            fusion=fitted.fusion,
            open_set=fitted.open_set,
            parity={name: network.parity for name, network in exported.items()},
        )
        content.write(folder)
    _report(workspace, params, content)


def _report(workspace: Workspace, params: Params, content: BundleContent) -> None:
    for name, parity in content.parity.items():
        console.print(f"  {FILES[name]}: {parity_line(parity)}")
    if figures := content.int8 or content.declined_int8:
        console.print(f"  int8 against fp32: {_int8_line(figures)}")
    if content.declined_int8:
        limit = params.promote.max_int8_loss
        console.print(f"  more than promote.max_int8_loss, {limit}: the networks stay fp32")
    weights = content.embedding.weights["both"]
    console.print(f"  weights of the terms: {weights} → {workspace.bundle}")
    if content.embedding.plain:
        console.print("  the plain search: no trained term earns its place on the dev queries")


def _int8_line(figures: Int8Figures) -> str:
    cosines = ", ".join(
        f"{name} cosine ≥ {parity.min_cosine:.4f}" for name, parity in figures.networks.items()
    )
    if figures.cost is None:
        return f"{cosines}; no labelled dev query tells its cost"
    loss = figures.cost.average_precision
    return f"{cosines}; mAP@10 {loss.mean:+.4f} ({loss.low:+.4f} to {loss.high:+.4f})"


if __name__ == "__main__":
    run_stage(export)
