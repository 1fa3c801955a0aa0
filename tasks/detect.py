"""Stage detect: a detector from the catalogue's own photos, and the boxes of every photo.

Cut-outs of single products are pasted into pseudo-bundles whose boxes are known; a compact network
learns them; then it proposes boxes for all photos. No box and no label of the catalogue is used to
train; boxes of dev and test queries only measure.

    python -m tasks.detect
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.base.params import Detect, Params
from tasks.base.plot_curves import write_curves
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.composed_queries import read_rows
from tasks.detection.collect_cutouts import gather_material
from tasks.detection.example_pictures import Picture, write_pictures
from tasks.detection.run_detector import Scenes, propose
from tasks.metrics.detection import RECALLS, precision_at_recalls, summarise
from tasks.synthesis.pseudo_bundle_material import Material
from tasks.synthesis.pseudo_bundles import compose
from unbundle.base.atomic import atomic_file, atomic_folder, write_json
from unbundle.base.onnx_session import open_session

PRECISION_RECALL = "precision_recall.csv"
"""Of all labelled photos, in the report; without rows where none has a true box."""

_CURVES = (0.5, 0.75)  # IoU


def detect(workspace: Workspace, params: Params) -> None:
    """Train the detector and write its proposals, metrics and pictures.

    Raises:
        UserError: the manifest is missing, or it has no train photo of a single product.
    """
    from models.onnx.export import export_detector
    from tasks.detection.training import train_detector

    manifest = read_rows(workspace)
    settings = params.detect
    material, counts = gather_material(workspace.catalogue, manifest, settings, params.seed)
    checkpoints = workspace.checkpoints / "detector"
    detector = train_detector(material, settings, params.seed, checkpoints)
    with atomic_folder(workspace.detector) as folder:
        detector.save_pretrained(folder)
        export_detector(detector, folder / workspace.detector_network.name)
    network = open_session(workspace.detector_network, None, spinning=True, accelerated=True)
    table, scenes, pictures = propose(workspace.catalogue, manifest, network, settings)
    figures = {split: summarise(*pair) for split, pair in scenes.items()}
    with atomic_file(workspace.proposals) as path:
        pq.write_table(table, path)
    write_json(workspace.detection_metrics, {"cutouts": counts, **figures})
    with atomic_folder(workspace.detection_report) as folder:
        write_pictures(folder, "pseudo-bundles", _show(material, settings, params.seed))
        write_pictures(folder, "predictions", pictures)
        write_curves(folder / PRECISION_RECALL, _precision_recall(scenes))
    _report(workspace, table, figures)


def _precision_recall(scenes: Scenes) -> dict[str, list[float]]:
    """Columns of the curves of all labelled photos; without rows where no photo has a true box."""
    ranked = [scene for pair in scenes.values() for scene in pair[0]]
    boxed = any(len(scene.truth) for scene in ranked)
    return {
        "recall": RECALLS.tolist() if boxed else [],
        **{
            f"AP{round(100 * iou)}": precision_at_recalls(ranked, iou).tolist() if boxed else []
            for iou in _CURVES
        },
    }


def _show(material: Material, settings: Detect, seed: int) -> list[Picture]:
    random = np.random.default_rng([seed, settings.training.steps])
    made = [
        compose(material, settings.image_size, settings.pseudo_bundles, random)
        for _ in range(settings.pictures)
    ]
    return [
        Picture(bundle.image, bundle.boxes, caption=f"{len(bundle.boxes)} products with free boxes")
        for bundle in made
    ]


def _report(workspace: Workspace, table: pa.Table, figures: dict[str, Any]) -> None:
    console.print(f"  {table.num_rows} proposals -> {workspace.proposals}")
    for split, values in figures.items():
        if values["boxes"]:
            console.print(
                f"  {split}: AP50 {values['ap50']:.3f}, AP75 {values['ap75']:.3f}, "
                f"recall {values['recall50']:.3f} on {values['boxes']} true boxes"
            )
    console.print(f"  pictures -> {workspace.detection_report}")


if __name__ == "__main__":
    run_stage(detect)
