"""Stage detect: a detector from the catalogue's own photos, and the boxes of every photo.

Cut-outs of single products are pasted into pseudo-bundles whose boxes are known; a compact network
learns them; then it proposes boxes for all photos. No box and no label of the catalogue is used to
train; boxes of dev and test queries only measure.

    python -m tasks.detect
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from onnxruntime import InferenceSession, get_available_providers

from tasks.base.command import run_stage
from tasks.base.curves import write_curves
from tasks.base.params import Detect, Params
from tasks.base.progress import console, track
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.detection.pictures import Picture, write_pictures
from tasks.metrics.detection import RECALLS, Scene, precision_at_recalls, summarise
from tasks.synthesis.cutouts import Cutout, Method, cut_out, shrink
from tasks.synthesis.material import Material
from tasks.synthesis.pseudo_bundles import compose
from tasks.synthesis.sprites import draw_shape, sprite_of
from unbundle.base.atomic import atomic_file, atomic_folder, write_json
from unbundle.base.errors import UserError
from unbundle.encoding.bundle import DETECTOR
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo, letterbox, open_photo
from unbundle.vision.proposals import select_proposals

CERTAIN: tuple[Method, ...] = ("flood", "seeded")
"""Methods whose masks are trusted within the original photo. A rectangle's GrabCut is often a part
of the product, or product and hand: pasted it is a thing with a known box all the same, but in its
own photo its box would teach the wrong extent."""

COLUMNS = ("x0", "y0", "x1", "y1", "score")

PRECISION_RECALL = "precision_recall.csv"
"""Of all labelled photos, in the report; without rows where none has a true box."""

_CURVES = (0.5, 0.75)  # IoU

Scenes = dict[str, tuple[list[Scene], list[Scene]]]
"""By split: labelled photos with boxes down to low scores, and with those that serving uses."""


@dataclass(frozen=True)
class Sighting:
    """What the detector sees in one photo.

    Attributes:
        row: of the photo in the manifest.
        photo: upright RGB pixels.
        boxes: all cells' boxes `[A, 4]`, in pixels of the letterboxed input.
        scores: theirs, `[A]`.
        factor: input pixels per photo pixel.
    """

    row: int
    photo: Photo
    boxes: Boxes
    scores: Boxes
    factor: float


def detect(workspace: Workspace, params: Params) -> None:
    """Train the detector and write its proposals, metrics and pictures.

    Raises:
        UserError: the manifest is missing, or it has no train photo of a single product.
    """
    from models.onnx_export import export_detector
    from tasks.detection.training import train_detector

    manifest = read_manifest(workspace.manifest)
    settings = params.detect
    material, counts = gather_material(workspace.catalogue, manifest, settings, params.seed)
    checkpoints = workspace.checkpoints / "detector"
    detector = train_detector(material, settings, params.seed, checkpoints)
    with atomic_folder(workspace.detector) as folder:
        detector.save_pretrained(folder)
        export_detector(detector, folder / DETECTOR)
    network = InferenceSession(workspace.detector / DETECTOR, providers=get_available_providers())
    table, scenes, pictures = _propose(workspace.catalogue, manifest, network, settings)
    figures = {split: summarise(*pair) for split, pair in scenes.items()}
    with atomic_file(workspace.proposals) as path:
        pq.write_table(table, path)
    write_json(workspace.detection_metrics, {"cutouts": counts, **figures})
    with atomic_folder(workspace.detection_report) as folder:
        write_pictures(folder, "pseudo-bundles", _show(material, settings, params.seed))
        write_pictures(folder, "predictions", pictures)
        write_curves(folder / PRECISION_RECALL, _precision_recall(scenes))
    _report(workspace, table, figures)


def gather_material(
    catalogue: Path, manifest: pd.DataFrame, settings: Detect, seed: int
) -> tuple[Material, dict[str, Any]]:
    """Cut products out of train photos and draw what is made up.

    Returns:
        The material of pseudo-bundles, and counts for the metrics: by method how many photos it
        `tried` and `cut`, in all how many `photos` were tried and the share `accepted`.

    Raises:
        UserError: no train photo is of a single product or of unknown kind.
    """
    kinds = manifest["kind"].isin(["single", ""])
    images = manifest.loc[(manifest["split"] == "train") & kinds, "image"].tolist()
    if not images:
        raise UserError(
            "manifest: no row of split train and kind single; the detector learns from such photos"
        )
    random = np.random.default_rng(seed)
    order = random.permutation(len(images))[: settings.cutouts.candidates]
    cutouts, refused, counts = _cut(catalogue, [images[row] for row in order], settings)
    photos = [cutout.photo for cutout in cutouts] + refused
    side = settings.cutouts.side * 2 // 3
    sizes = settings.pseudo_bundles
    material = Material(
        cutouts=[cutout for cutout in cutouts if cutout.method in CERTAIN],
        sprites=[sprite_of(cutout) for cutout in cutouts],
        drawn=[draw_shape(photos, side, random) for _ in range(sizes.drawn_sprites)],
        photos=refused[: sizes.photos],
        rooms=photos[: sizes.photos],
    )
    return material, counts


def _cut(
    catalogue: Path, images: Sequence[str], settings: Detect
) -> tuple[list[Cutout], list[Photo], dict[str, Any]]:
    """Cut-outs, the photos that every method refused, and how many each method tried and cut.

    A less sure method sees a photo only when the surer ones have not given enough in all.
    """
    cutouts: list[Cutout] = []
    counts: dict[str, Any] = {}
    left = list(images)
    for method in settings.cutouts.methods:
        refused: list[str] = []
        before, tried = len(cutouts), 0
        for image in track(left, f"cutting products out: {method}"):
            if len(cutouts) == settings.cutouts.count:
                break
            tried += 1
            found = cut_out(open_photo(catalogue / image), settings.cutouts, [method])
            if found is None:
                refused.append(image)
            else:
                cutouts.append(found)
        counts[method] = {"tried": tried, "cut": len(cutouts) - before}
        left = refused
    counts["photos"] = counts[settings.cutouts.methods[0]]["tried"]
    counts["accepted"] = len(cutouts) / counts["photos"]
    # Photos that not every method has seen may well show a product that can be cut out.
    unknown = [] if len(cutouts) == settings.cutouts.count else left
    photos = [open_photo(catalogue / image) for image in unknown[: settings.pseudo_bundles.photos]]
    return cutouts, [shrink(photo, settings.cutouts.side) for photo in photos], counts


def sightings(
    catalogue: Path, images: Sequence[str], detector: InferenceSession, settings: Detect
) -> Iterator[Sighting]:
    """Run the detector over photos, in batches; yields one sighting per photo, in order."""
    for start in range(0, len(images), settings.batch):
        photos = [open_photo(catalogue / image) for image in images[start : start + settings.batch]]
        inputs, factors = zip(*(letterbox(photo, settings.side) for photo in photos), strict=True)
        boxes, scores = detector.run(None, {"image": np.stack(inputs)})
        for row, photo in enumerate(photos):
            yield Sighting(start + row, photo, boxes[row], scores[row], factors[row])


def _propose(
    catalogue: Path, manifest: pd.DataFrame, detector: InferenceSession, settings: Detect
) -> tuple[pa.Table, Scenes, list[Picture]]:
    """Proposals of all photos as a table, what the labelled ones show, and pictures of queries."""
    images, ids = manifest["image"].tolist(), manifest["id"].tolist()
    names: list[str] = []
    rows: list[Boxes] = []
    scenes: Scenes = {"dev": ([], []), "test": ([], [])}
    shown = _shown_rows(manifest, settings.pictures)
    pictures = []
    seen = sightings(catalogue, images, detector, settings)
    for sighting in track(seen, "finding products", total=len(images)):
        record = manifest.iloc[sighting.row]
        boxes, scores = _select(sighting, settings)
        names += [ids[sighting.row]] * len(boxes)
        rows.append(np.concatenate([boxes, scores[:, None]], axis=1))
        if record["split"] in scenes and record["boxes"]:
            truth = np.asarray(record["boxes"], np.float32)
            ranked, served = scenes[record["split"]]
            ranked.append(Scene(*_select(sighting, settings, settings.match_floor), truth))
            served.append(Scene(boxes, scores, truth))
        if sighting.row in shown:
            truth_boxes = record["boxes"] or ()
            caption = f"{ids[sighting.row]}: {len(boxes)} found, {len(truth_boxes) or '?'} true"
            pictures.append(Picture(sighting.photo, boxes, scores.tolist(), truth_boxes, caption))
    table = _table(names, np.concatenate(rows))
    return table, scenes, pictures


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


def _select(
    sighting: Sighting, settings: Detect, min_score: float | None = None
) -> tuple[Boxes, Boxes]:
    """As serving selects; with a `min_score` of one's own, all boxes down to it."""
    height, width = sighting.photo.shape[:2]
    limits = settings.proposals.model_dump()
    if min_score is not None:
        limits |= {"min_score": min_score, "max_proposals": len(sighting.scores)}
    return select_proposals(
        sighting.boxes, sighting.scores, sighting.factor, width, height, **limits
    )


def _shown_rows(manifest: pd.DataFrame, count: int) -> set[int]:
    """Queries with boxes first, then other photos of several products, evenly spread."""
    boxed = manifest["boxes"].map(bool).to_numpy(bool)
    several = (manifest["kind"] != "single").to_numpy(bool)
    order = np.lexsort((np.arange(len(manifest)), ~several, ~boxed))
    pool = order[: max(count, int(boxed.sum()))]
    places = np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(int)
    return {int(pool[place]) for place in places}


def _table(names: Sequence[str], rows: Boxes) -> pa.Table:
    columns = {name: rows[:, place].astype(np.float32) for place, name in enumerate(COLUMNS)}
    return pa.table({"id": pa.array(names, pa.string()), **columns})


def _show(material: Material, settings: Detect, seed: int) -> list[Picture]:
    random = np.random.default_rng([seed, settings.training.steps])
    made = [
        compose(material, settings.side, settings.pseudo_bundles, random)
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
