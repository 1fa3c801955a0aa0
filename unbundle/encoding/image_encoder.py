"""Detector and backbone on ONNX Runtime: photos to proposals, boxes to visual tokens.

Queries, ingestion and the export, which measures what int8 costs, run the same code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbundle.base.onnx_session import open_session
from unbundle.encoding.capture_inputs import Visual
from unbundle.encoding.model_bundle import BACKBONE, DETECTOR, BackboneSettings, DetectorSettings
from unbundle.encoding.query_observer import NOBODY, Observer
from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo, crops, geometry, letterbox, normalise
from unbundle.vision.proposals import select_proposals


@dataclass(frozen=True)
class Proposals:
    """What the detector sees in a photo, best first; the whole photo with score 0 if nothing."""

    boxes: Boxes
    """`[N, 4]` in photo pixels."""
    scores: NDArray[np.float32]
    """`[N]`, 0 to 1."""


class ImageEncoder:
    """Detector and backbone.

    Args:
        folder: of the networks.
        detector: its input and what becomes of its boxes.
        backbone: its input.
        threads: of each network; 0 takes the cores that this process may use, 8 at most.
    """

    def __init__(
        self, folder: Path, detector: DetectorSettings, backbone: BackboneSettings, threads: int = 0
    ) -> None:
        self._settings, self._crop = detector, backbone
        self._detector = open_session(folder / DETECTOR, threads)
        self._backbone = open_session(folder / BACKBONE, threads)

    def propose(self, photos: Sequence[Photo], observer: Observer = NOBODY) -> list[Proposals]:
        """The products that the detector sees in each photo; all photos are one batch."""
        settings = self._settings
        inputs = [letterbox(photo, settings.image_size) for photo in photos]
        images = np.stack([image for image, _ in inputs])
        with observer.span("detector"):
            all_boxes, all_scores = self._detector.run(["boxes", "scores"], {"image": images})
        found = []
        for photo, (_, factor), boxes, scores in zip(
            photos, inputs, all_boxes, all_scores, strict=True
        ):
            height, width = photo.shape[:2]
            selected = select_proposals(
                boxes,
                scores,
                factor,
                width,
                height,
                settings.min_score,
                settings.nms_iou,
                settings.max_proposals,
            )
            found.append(Proposals(*selected))
        return found

    def encode(
        self, photos: Sequence[Photo], boxes: Sequence[Boxes], observer: Observer = NOBODY
    ) -> Visual:
        """Visual tokens of some boxes `[N_i, 4]` of each photo; all boxes are one batch."""
        settings = self._crop
        pairs = list(zip(photos, boxes, strict=True))
        cut = np.concatenate([crops(photo, rows, settings.image_size) for photo, rows in pairs])
        batch = normalise(cut, settings.mean, settings.std)
        with observer.span("backbone"):
            (tokens,) = self._backbone.run(["tokens"], {"crops": batch})
        places = np.concatenate(
            [geometry(rows, photo.shape[1], photo.shape[0]) for photo, rows in pairs]
        )
        count, length = tokens.shape[:2]
        return Visual(
            tokens,
            np.repeat(places[:, None], length, axis=1),
            np.ones((count, length), np.int64),
        )
