"""The detector run over all photos: their proposals, and detection scenes of labelled ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from onnxruntime import InferenceSession

from tasks.base.params import Detect
from tasks.base.progress import track
from tasks.data.box_columns import CORNERS
from tasks.data.splits import spread
from tasks.detection.example_pictures import Picture
from tasks.metrics.detection import Scene
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo, letterbox, open_photo
from unbundle.vision.proposals import select_proposals

MATCH_FLOOR = 0.02
"""Average precision counts boxes from this score on: below are thousands that change nothing."""

Scenes = dict[str, tuple[list[Scene], list[Scene]]]
"""By split: labelled photos with all boxes down to `MATCH_FLOOR`, for average precision, and
the same photos with the boxes that serving uses."""


@dataclass(frozen=True)
class Sighting:
    """The detector's raw output for one photo.

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


def sightings(
    catalogue: Path, images: Sequence[str], detector: InferenceSession, settings: Detect
) -> Iterator[Sighting]:
    """Run the detector over photos, in batches; yields one sighting per photo, in order."""
    for start in range(0, len(images), settings.batch):
        photos = [open_photo(catalogue / image) for image in images[start : start + settings.batch]]
        inputs, factors = zip(
            *(letterbox(photo, settings.image_size) for photo in photos), strict=True
        )
        boxes, scores = detector.run(None, {"image": np.stack(inputs)})
        for row, photo in enumerate(photos):
            yield Sighting(start + row, photo, boxes[row], scores[row], factors[row])


def propose(
    catalogue: Path, manifest: pd.DataFrame, detector: InferenceSession, settings: Detect
) -> tuple[pa.Table, Scenes, list[Picture]]:
    """Run the detector over the catalogue.

    Args:
        catalogue: folder that images are relative to.
        manifest: whose photos are seen, in its order.
        detector: the ONNX network.
        settings: batch, limits of proposals, number of pictures.

    Returns:
        Proposals of all photos as a table (id, `COLUMNS`), scenes of the photos with true boxes by
        split, and pictures of some photos with their boxes.
    """
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
            ranked.append(Scene(*_select(sighting, settings, MATCH_FLOOR), truth))
            served.append(Scene(boxes, scores, truth))
        if sighting.row in shown:
            truth_boxes = record["boxes"] or ()
            caption = f"{ids[sighting.row]}: {len(boxes)} found, {len(truth_boxes) or '?'} true"
            pictures.append(Picture(sighting.photo, boxes, scores.tolist(), truth_boxes, caption))
    table = _table(names, np.concatenate(rows))
    return table, scenes, pictures


def _select(
    sighting: Sighting, settings: Detect, min_score: float | None = None
) -> tuple[Boxes, Boxes]:
    """Boxes and scores as serving selects them; with a `min_score`, all boxes down to it."""
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
    return {int(pool[place]) for place in spread(len(pool), count)}


def _table(names: Sequence[str], rows: Boxes) -> pa.Table:
    columns = {
        name: rows[:, place].astype(np.float32) for place, name in enumerate((*CORNERS, "score"))
    }
    return pa.table({"id": pa.array(names, pa.string()), **columns})
