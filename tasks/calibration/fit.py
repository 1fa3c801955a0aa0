"""What a bundle learns from the labelled dev queries; the networks are not touched.

Weights of the embedding's terms, what a print found again is worth, the merging of a query's
instances, and how likely an instance's product is in the catalogue at all. The candidate network
looks at stored tokens and the photos' keypoints are compared in memory: Milvus is not needed. A
catalogue without labelled dev queries gets the params' weights, interleaves the instances and
claims no probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from tasks.base.params import Export
from tasks.calibration.encoded_queries import Asked, StoredPhotos
from tasks.calibration.exact_search import gallery_cosines
from tasks.calibration.fusion_fit import fit_merging, fused, nearest_items
from tasks.calibration.keypoint_matches import SecondLook, comparing
from tasks.calibration.open_set_fit import fit_known
from tasks.calibration.open_set_trials import Trials, products, trials
from tasks.calibration.term_weights import Answers, DevQuery, fit_weights, quality
from tasks.data.splits import is_fitted
from unbundle.ranking.embedding import Modality, Vectors, term_scores
from unbundle.vision.keypoints import Keypoints, KeypointSettings

MODES: tuple[Modality, ...] = ("both", "photo", "title")

SEEN_MODES: tuple[Modality, ...] = ("both", "photo")
"""Of queries that have a photo."""


@dataclass(frozen=True)
class Fitted:
    """What a bundle holds beside its networks, as `bundle.json` has it."""

    weights: Mapping[Modality, Mapping[str, float]]
    verification: Mapping[Modality, float]
    merging: Mapping[str, float] | None = None
    known: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    queries: int = 0
    """How many dev queries it was fitted on."""
    half: bool = False
    """Whether that is half of them."""


def fit(
    stored: StoredPhotos,
    manifest: pd.DataFrame,
    params: Export,
    iou: float,
    prints: Mapping[int, Keypoints],
    settings: KeypointSettings,
) -> Fitted:
    """Fit everything on the labelled dev queries that may fit something.

    Args:
        stored: the candidate network and the visual tokens.
        manifest: of the catalogue.
        params: start values, grids and the wanted false-accept rate.
        iou: overlap from which a proposal shows a true box's product.
        prints: keypoints by row of the store, of the gallery and of `fitted_queries`.
        settings: of the keypoints.
    """
    start = {mode: getattr(params.weights, mode).model_dump() for mode in MODES}
    usual = params.verification[0]
    dev = fitted_queries(manifest)
    rows = manifest[manifest["split"] == "gallery"]
    if dev.empty or rows.empty:
        return Fitted(start, dict.fromkeys(SEEN_MODES, usual))
    gallery = stored.gallery(rows)
    answers = Answers.of(rows["id"].tolist(), [found[0] for found in rows["labels"]])
    weights: dict[Modality, dict[str, float]] = {}
    verification: dict[Modality, float] = {}
    known: dict[Modality, dict[str, Any]] = {}
    merging = None
    for mode in MODES:
        asked = stored.queries(dev, mode)
        terms = term_scores(asked.heads, gallery)
        queries = dev_queries(dev, asked)
        weights[mode] = fit_weights(queries, terms, answers, start[mode], params.grid)
        scores = gallery_cosines(asked, gallery, weights[mode])
        if mode not in SEEN_MODES:
            continue
        look = second_look(prints, asked, stored.best_rows(rows), settings)
        look, fitted = fit_verification(queries, scores, answers, look, params)
        verification[mode] = look.weight
        merging = fitted if mode == "both" else merging
        found = _trials(dev, asked, scores, gallery, answers, mode, iou, look)
        if (calibrated := fit_known(found, params.false_accepts)) is not None:
            known[mode] = calibrated
    half = len(dev) < int(((manifest["split"] == "dev") & manifest["labels"].map(len).gt(0)).sum())
    return Fitted(weights, verification, merging, known, len(dev), half)


def second_look(
    prints: Mapping[int, Keypoints],
    asked: Asked,
    gallery: Sequence[int],
    settings: KeypointSettings,
) -> SecondLook:
    """A second look of stored instances at stored photos, of no weight yet.

    Args:
        prints: keypoints by row of the store.
        asked: the instances.
        gallery: rows of the store, of the photos' best proposals.
        settings: of the keypoints.
    """
    own = [prints[row] for row in asked.rows]
    # As an index holds them.
    items = [Keypoints.unpack(prints[row].pack(), settings.dimension) for row in gallery]
    compare = comparing(own, items, settings)
    return SecondLook(compare, [len(one) for one in own], 0.0, settings.photos)


def fitted_queries(manifest: pd.DataFrame) -> pd.DataFrame:
    """The labelled dev queries, or the half of them where no test query is labelled.

    The half is that of `tasks.data.splits.is_fitted`: the evaluation, which has but dev, is to see
    queries that fitted nothing.
    """
    labelled = manifest[manifest["labels"].map(len) > 0]
    dev = labelled[labelled["split"] == "dev"]
    if (labelled["split"] == "test").any():
        return dev
    return dev[dev["id"].map(is_fitted)]


def fit_verification(
    queries: Sequence[DevQuery],
    scores: Vectors,
    answers: Answers,
    look: SecondLook,
    params: Export,
) -> tuple[SecondLook, dict[str, float] | None]:
    """What an inlier is worth, with the merging of scores that it makes best.

    Args:
        queries: what was asked.
        scores: `[N, M]` of all instances with the gallery.
        answers: the gallery's ids and labels.
        look: whose weight is to be found.
        params: with the weights to try.
    """
    best: tuple[float, SecondLook, dict[str, float] | None] | None = None
    for weight in params.verification:
        tried = replace(look, weight=weight)
        anew = tried.rescored(scores)
        merging = fit_merging(queries, anew, answers, params.spreads)
        found = [[nearest_items(row, anew) for row in query.rows] for query in queries]
        value = quality(queries, [fused(hits, answers, merging) for hits in found], answers)
        if best is None or value > best[0]:
            best = value, tried, merging
    assert best is not None
    return best[1:]


def dev_queries(dev: pd.DataFrame, asked: Asked) -> list[DevQuery]:
    """Rows of the manifest with their instances, as the fits read them."""
    return [
        DevQuery(frozenset(labels), places)
        for labels, places in zip(dev["labels"], asked.queries, strict=True)
    ]


def _trials(
    dev: pd.DataFrame,
    asked: Asked,
    scores: Vectors,
    gallery: Mapping[str, Vectors],
    answers: Answers,
    mode: Modality,
    iou: float,
    look: SecondLook,
) -> Trials:
    labels = np.asarray(answers.labels)
    parts = []
    rows = zip(asked.queries, dev["labels"], dev["boxes"], strict=True)
    for places, shown, boxes in rows:
        true = None if boxes is None else np.asarray(boxes, np.float32)
        named = products(asked.boxes[places], shown, true, iou)
        mine = {head: values[places] for head, values in asked.heads.items()}
        parts.append(
            trials(scores[places], mine, gallery, labels, named, mode, look.of(places.tolist()))
        )
    return Trials.joined(parts)
