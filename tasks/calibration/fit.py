"""What a bundle learns from the labelled dev queries; the networks are not touched.

Weights of the embedding's terms, the weight of inliers in re-ranking, rank fusion, and the open-set
score. CAPTURE runs on stored tokens and keypoints are matched in memory, so Milvus is not needed.
Where nobody labelled a query, those that `tasks.compose_queries` made are the labelled ones. A
catalogue without either gets the weights of the params, interleaved rankings and no open-set score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.base.params import Export
from tasks.calibration.encoded_queries import EncodedQueries, StoredPhotos
from tasks.calibration.exact_search import OUT_OF_REACH, gallery_cosines
from tasks.calibration.fit_embedding_weights import (
    AnswerKey,
    DevQuery,
    fit_weights,
    quality,
    start_weights,
)
from tasks.calibration.fit_open_set_score import fit_open_set
from tasks.calibration.fit_rank_fusion import fit_fusion, fused, nearest_items
from tasks.calibration.keypoint_matches import (
    Similar,
    StoredReranker,
    comparing,
    described,
    likeness,
)
from tasks.calibration.open_set_trials import Trials, products, trials
from tasks.data.composed_queries import JUNK, are_composed
from tasks.data.splits import is_fitted, labelled, products_of, rows_of, spread
from tasks.tokens.token_files import FeatureStore
from unbundle.encoding.model_bundle import FittedOn, OpenSetSettings
from unbundle.ranking.embedding_parts import Modality, Vectors, term_scores
from unbundle.vision.keypoints import Keypoints, KeypointSettings, Projection

MODES: tuple[Modality, ...] = ("both", "photo", "title")

SEEN_MODES: tuple[Modality, ...] = ("both", "photo")
"""Of queries that have a photo."""


EXPANSIONS = (0.25, 0.5)
"""Weights of query expansion that are tried beside 0: more of it costs coverage."""


@dataclass(frozen=True)
class Fitted:
    """What was fitted, as `unbundle.encoding.model_bundle.BundleContent` has it."""

    weights: dict[Modality, dict[str, float]]
    verification: dict[Modality, float]
    expansion: dict[Modality, float] = field(default_factory=dict)
    fusion: dict[str, float] | None = None
    open_set: dict[Modality, OpenSetSettings] = field(default_factory=dict)
    fitted_on: FittedOn | None = None
    """None where no dev query is labelled: these are the params' values."""


def fit(
    stored: StoredPhotos,
    manifest: pd.DataFrame,
    params: Export,
    iou: float,
    local: Mapping[int, Keypoints],
    settings: KeypointSettings,
) -> Fitted:
    """Fit weights, re-ranking, rank fusion and open-set score on `fitted_queries`.

    Args:
        stored: the candidate network and the visual tokens.
        manifest: of the catalogue.
        params: start values, grids and the wanted false-accept rate.
        iou: overlap from which a proposal shows a true box's product.
        local: keypoints by row of the store, of the gallery and of `fitted_queries`.
        settings: of the keypoints.
    """
    start: dict[Modality, dict[str, float]] = {mode: start_weights(params, mode) for mode in MODES}
    usual = params.verification[0]
    dev = fitted_queries(manifest)
    rows = rows_of(manifest, "gallery")
    if dev.empty or rows.empty:
        return Fitted(start, dict.fromkeys(SEEN_MODES, usual))
    gallery = stored.gallery(rows)
    answers = AnswerKey.of(rows["id"].tolist(), products_of(rows))
    weights: dict[Modality, dict[str, float]] = {}
    verification: dict[Modality, float] = {}
    expansion: dict[Modality, float] = {}
    open_set: dict[Modality, OpenSetSettings] = {}
    fusion = None
    for mode in MODES:
        asked = stored.queries(dev, mode)
        queries = dev_queries(dev, asked)
        terms = term_scores(asked.heads, gallery)
        weights[mode] = fit_weights(queries, terms, answers, start[mode], params.grid)
        scores = without_junk_scores(
            gallery_cosines(asked, gallery, weights[mode]), queries, answers
        )
        if mode not in SEEN_MODES:
            continue
        similar = likeness(gallery, weights[mode])
        reranker = stored_reranker(local, asked, stored.best_rows(rows), settings, similar)
        reranker, fitted = fit_verification(queries, scores, answers, reranker, params)
        verification[mode], expansion[mode] = reranker.weight, reranker.expansion
        fusion = fitted if mode == "both" else fusion
        found = _trials(dev, asked, scores, gallery, answers, mode, iou, reranker)
        if (calibrated := fit_open_set(found, params.false_accepts)) is not None:
            open_set[mode] = calibrated
    half = len(dev) < len(labelled(manifest, "dev"))
    fitted_on = FittedOn(split="dev", queries=len(dev), half=half, composed=are_composed(dev))
    return Fitted(weights, verification, expansion, fusion, open_set, fitted_on)


def stored_reranker(
    local: Mapping[int, Keypoints],
    asked: EncodedQueries,
    gallery: Sequence[int],
    settings: KeypointSettings,
    similar: Similar,
) -> StoredReranker:
    """A reranker of stored instances over stored gallery photos; its weights are 0.

    Args:
        local: keypoints by row of the store.
        asked: the instances.
        gallery: rows of the store, of the photos' best proposals.
        settings: of the keypoints.
        similar: of the gallery.
    """
    own = [local[row] for row in asked.rows]
    # Rounded as an index holds them.
    items = [Keypoints.unpack(local[row].pack(), settings.dimension) for row in gallery]
    compare = comparing(own, items, settings)
    return StoredReranker(compare, [len(one) for one in own], 0.0, settings.photos, similar)


def fitted_queries(manifest: pd.DataFrame) -> pd.DataFrame:
    """The labelled dev queries, or the half of them where no test query is labelled.

    The half is that of `tasks.data.splits.is_fitted`: without test queries the evaluation uses dev,
    and its slice `held out` needs queries that nothing was fitted on.
    """
    dev = labelled(manifest, "dev")
    if not labelled(manifest, "test").empty:
        return dev
    return dev[dev["id"].map(is_fitted)]


def fitted_keypoints(
    manifest: pd.DataFrame,
    catalogue: Path,
    store: FeatureStore,
    settings: KeypointSettings,
    sample: int,
) -> tuple[Projection, dict[int, Keypoints]]:
    """The projection of descriptors, and keypoints of all photos that `fit` asks for.

    Args:
        manifest: of the catalogue.
        catalogue: folder that images are relative to.
        store: with the proposals.
        settings: of the keypoints.
        sample: train photos that the projection is fitted on, evenly spread.

    Returns:
        The projection, and keypoints by row of the store.
    """
    train = rows_of(manifest, "train")
    chosen = train.iloc[spread(len(train), sample)]
    asked = pd.concat([rows_of(manifest, "gallery"), fitted_queries(manifest)])
    return described(asked, chosen, catalogue, store, settings)


def fit_verification(
    queries: Sequence[DevQuery],
    scores: Vectors,
    answers: AnswerKey,
    reranker: StoredReranker,
    params: Export,
) -> tuple[StoredReranker, dict[str, float] | None]:
    """Choose the weights of inliers and of expansion, and fit rank fusion on what they give.

    Args:
        queries: what was asked.
        scores: `[N, M]` of all instances with the gallery.
        answers: the gallery's ids and labels.
        reranker: whose weights are to be found.
        params: `verification`, the weights to try, and `spreads` of `fit_fusion`.

    Returns:
        The reranker with the weights of the best `quality`, the first of equals, and its fusion
        weights, None to interleave.
    """

    def judged(tried: StoredReranker) -> tuple[float, StoredReranker, dict[str, float] | None]:
        anew = tried.rescored(scores)
        fusion = fit_fusion(queries, anew, answers, params.spreads)
        found = [[nearest_items(row, anew) for row in query.rows] for query in queries]
        value = quality(queries, [fused(hits, answers, fusion) for hits in found], answers)
        return value, tried, fusion

    verified = [judged(replace(reranker, weight=weight)) for weight in params.verification]
    best = max(verified, key=lambda trial: trial[0])
    expanded = [judged(replace(best[1], expansion=weight)) for weight in EXPANSIONS]
    return max([best, *expanded], key=lambda trial: trial[0])[1:]


def dev_queries(dev: pd.DataFrame, asked: EncodedQueries) -> list[DevQuery]:
    """The queries of `dev`, rows of the manifest, with the rows of their instances in `asked`."""
    return [
        DevQuery(frozenset(labels), places, frozenset(junk))
        for labels, places, junk in zip(dev["labels"], asked.queries, dev[JUNK], strict=True)
    ]


def without_junk_scores(
    scores: Vectors, queries: Sequence[DevQuery], answers: AnswerKey
) -> Vectors:
    """Scores `[N, M]` of all instances, `OUT_OF_REACH` where they are not to find the item."""
    if not any(query.junk for query in queries):
        return scores
    return np.where(junk_pairs(queries, answers, len(scores)), OUT_OF_REACH, scores)


def junk_pairs(
    queries: Sequence[DevQuery], answers: AnswerKey, instances: int
) -> NDArray[np.bool_]:
    """Which instance is not to find which item, bool `[instances, M]`."""
    places = {item: place for place, item in enumerate(answers.ids)}
    pairs = np.zeros((instances, len(places)), bool)
    for query in queries:
        items = [places[item] for item in query.junk if item in places]
        pairs[query.rows[:, None], np.asarray(items, np.int64)] = True
    return pairs


def _trials(
    dev: pd.DataFrame,
    asked: EncodedQueries,
    scores: Vectors,
    gallery: Mapping[str, Vectors],
    answers: AnswerKey,
    mode: Modality,
    iou: float,
    reranker: StoredReranker,
) -> Trials:
    labels = np.asarray(answers.labels)
    parts = []
    rows = zip(asked.queries, dev["labels"], dev["boxes"], strict=True)
    for places, shown, boxes in rows:
        true = None if boxes is None else np.asarray(boxes, np.float32)
        named = products(asked.boxes[places], shown, true, iou)
        mine = {head: values[places] for head, values in asked.heads.items()}
        parts.append(
            trials(scores[places], mine, gallery, labels, named, mode, reranker.of(places.tolist()))
        )
    return Trials.joined(parts)
