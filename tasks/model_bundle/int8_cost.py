"""What int8 costs a bundle: photos encoded by the networks that will serve, and by fp32."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.base.params import DEPTH
from tasks.base.progress import track
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.calibration.exact_search import gallery_cosines, rank_gallery
from tasks.calibration.fit import Fitted, dev_queries, without_junk_scores
from tasks.calibration.fit_embedding_weights import AnswerKey
from tasks.data.box_columns import CORNERS, boxes_of
from tasks.data.composed_queries import JUNK
from tasks.data.splits import labelled, products_of, rows_of, spread
from tasks.metrics.ranking import Corrected, corrected, difference
from tasks.tokens.token_files import FeatureStore
from unbundle.encoding.capture_inputs import Arrays
from unbundle.encoding.image_encoder import ImageEncoder
from unbundle.encoding.model_bundle import BackboneSettings, DetectorSettings, Int8Cost, Interval
from unbundle.vision.imaging import Photo, crops, letterbox, normalise, open_photo

_BATCH = 16
"""Photos that are decoded and encoded together."""


def asked_rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Rows of the gallery and of labelled dev queries, which fits and the cost of int8 read."""
    rows = [labelled(manifest, "dev"), rows_of(manifest, "gallery")]
    return pd.concat(rows).sort_index()


def see(
    rows: pd.DataFrame,
    catalogue: Path,
    networks: Path,
    detector: DetectorSettings,
    backbone: BackboneSettings,
) -> FeatureStore:
    """Proposals and visual tokens of some photos by the networks of a bundle's folder.

    Args:
        rows: of the manifest.
        catalogue: folder that images are relative to.
        networks: the folder with `detector.onnx` and `backbone.onnx`.
        detector, backbone: their settings.

    Returns:
        A feature store in memory, as stage `features` writes one.
    """
    image_encoder = ImageEncoder(networks, detector, backbone)
    tables, tokens, places = [], [], []
    names, images = rows["id"].tolist(), rows["image"].tolist()
    for start in track(range(0, len(rows), _BATCH), "photos to the int8 networks, batches"):
        photos = [open_photo(catalogue / image) for image in images[start : start + _BATCH]]
        found = image_encoder.propose(photos)
        visual = image_encoder.encode(photos, [proposals.boxes for proposals in found])
        tokens.append(visual.tokens.astype(np.float16))
        places.append(visual.geometry[:, 0])
        for name, proposals in zip(names[start:], found, strict=False):
            table = pd.DataFrame(proposals.boxes, columns=list(CORNERS))
            tables.append(table.assign(score=proposals.scores, id=name))
    shard = np.concatenate(tokens)
    index = pd.concat(tables, ignore_index=True)
    return FeatureStore(index, np.concatenate(places), (shard,), len(shard), backbone.channels)


def calibration(
    manifest: pd.DataFrame,
    catalogue: Path,
    store: FeatureStore,
    count: int,
    detector: DetectorSettings,
    backbone: BackboneSettings,
) -> tuple[list[Arrays], list[Arrays]]:
    """Inputs of detector and backbone from evenly spread photos of split train, in batches.

    Args:
        manifest: of the catalogue.
        catalogue: folder that images are relative to.
        store: whose boxes are cut out, the two best of each photo.
        count: photos.
        detector, backbone: settings of the networks.
    """
    train = rows_of(manifest, "train")
    chosen = train.iloc[spread(len(train), count)]
    rows = store.rows_by_id()
    boxes = boxes_of(store.index)
    images, cut = [], []
    for name, image in zip(chosen["id"], chosen["image"], strict=True):
        photo: Photo = open_photo(catalogue / image)
        images.append(letterbox(photo, detector.image_size)[0])
        cut.append(crops(photo, boxes[rows[name][:2]], backbone.image_size))
    seen = normalise(np.concatenate(cut), backbone.mean, backbone.std)
    return _batches("image", np.stack(images)), _batches("crops", seen)


def _batches(name: str, values: NDArray[np.float32]) -> list[Arrays]:
    return [{name: values[start : start + _BATCH]} for start in range(0, len(values), _BATCH)]


def cost(
    manifest: pd.DataFrame,
    served: StoredPhotos,
    exact: StoredPhotos,
    fitted: Fitted,
    resamples: int,
    seed: int,
) -> Int8Cost | None:
    """What the served networks lose to fp32 on all labelled dev queries.

    Both rank with the weights that were fitted with fp32, as the bundle serves them: another fit
    would move the metrics more than int8 does.

    Returns:
        Queries, and the paired differences of mAP@10 and coverage@10 with their 95 % intervals;
        None where the catalogue labels no dev query or has no gallery.
    """
    rows = asked_rows(manifest)
    dev, gallery = rows_of(rows, "dev"), rows_of(rows, "gallery")
    if dev.empty or gallery.empty:
        return None
    first, second = (_scored(dev, gallery, one, fitted) for one in (served, exact))
    summary = difference(first, second).summary(DEPTH, resamples, seed)
    return Int8Cost(
        queries=len(dev),
        average_precision=Interval(**summary["mAP"]),
        coverage=Interval(**summary["coverage"]),
    )


def _scored(
    dev: pd.DataFrame, gallery: pd.DataFrame, stored: StoredPhotos, fitted: Fitted
) -> Corrected:
    ids: Sequence[str] = gallery["id"].tolist()
    asked = stored.queries(dev, "both")
    answers = AnswerKey.of(ids, products_of(gallery))
    cosines = without_junk_scores(
        gallery_cosines(asked, stored.gallery(gallery), fitted.weights["both"]),
        dev_queries(dev, asked),
        answers,
    )
    names: list[str] = dev["id"].tolist()
    rankings = rank_gallery(names, asked, cosines, ids, fitted.fusion)
    junk: Mapping[str, list[str]] = dict(zip(names, dev[JUNK], strict=True))
    labels: Mapping[str, list[str]] = dict(zip(names, dev["labels"], strict=True))
    return corrected(rankings, labels, answers.label_of, [DEPTH], junk)
