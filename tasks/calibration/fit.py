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
from numpy.typing import NDArray

from tasks.base.params import Export
from tasks.calibration.encoded_queries import Asked, StoredPhotos
from tasks.calibration.exact_search import HITS, gallery_cosines
from tasks.calibration.keypoint_matches import SecondLook, comparing
from tasks.calibration.open_set_trials import Trials, products, trials
from tasks.calibration.term_weights import DEPTH, Answers, DevQuery, fit_weights, quality
from tasks.data.splits import is_fitted
from unbundle.ranking.embedding import Modality, Vectors, term_scores
from unbundle.ranking.fusion import EVIDENCE, evidence, interleave, merge
from unbundle.ranking.open_set import SIGNS
from unbundle.vision.keypoints import Keypoints, KeypointSettings

_PULL = 0.1
"""Inverse of how strongly the weights of `known` are pulled to zero."""

_TREES = 80
"""That correct the weighted signs, each by this share of what is left:"""

_SHARE = 0.05

_DEPTH = 2
"""Of a tree: as many signs count together."""

_LEAF = 20
"""Trials in a leaf at least; of fewer than four leaves' worth there is one tree."""

_TRIED = 0.3
"""Share of the signs that a split chooses from."""

_FOLDS = 10
"""Of the trials, in their order, so that an instance's two stay together."""

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
        found = [[_hits(row, anew) for row in query.rows] for query in queries]
        value = quality(queries, [_merged(hits, answers, merging) for hits in found], answers)
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


def fit_merging(
    queries: Sequence[DevQuery], cosines: Vectors, answers: Answers, spreads: Sequence[float]
) -> dict[str, float] | None:
    """Weights of the evidence for an item; None where interleaving does better.

    A logistic regression says how evidence becomes relevance. To rank by it serves precision; a
    query's every product wants a place, too: `spreads` tries further discounts by place and keeps
    what maximises the mean of AP@10 and coverage@10.

    Args:
        queries: what was asked.
        cosines: `[N, M]` of all instances with the gallery.
        answers: the gallery's ids and labels.
        spreads: further weights of the logarithm of a place.
    """
    from sklearn.linear_model import LogisticRegression

    found = [[_hits(row, cosines) for row in query.rows] for query in queries]
    signs = [evidence(scores) for hits in found for _, scores in hits]
    relevant = [
        [answers.labels[item] in query.labels for item in items]
        for query, hits in zip(queries, found, strict=True)
        for items, _ in hits
    ]
    outcome = np.concatenate(relevant)
    if outcome.all() or not outcome.any():
        return None
    columns = np.concatenate(signs)
    scale = columns.std(axis=0) + 1e-6
    model = LogisticRegression().fit(columns / scale, outcome)
    base = dict(zip(EVIDENCE, (model.coef_[0] / scale).tolist(), strict=True))
    trials = [{**base, "rank": base["rank"] - spread} for spread in spreads]

    def judged(weights: dict[str, float] | None) -> float:
        rankings = [_merged(hits, answers, weights) for hits in found]
        return quality(queries, rankings, answers)

    best = max([None, *trials], key=judged)
    return None if best is None else {name: round(value, 6) for name, value in best.items()}


def _hits(row: int, cosines: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    items = np.argsort(-cosines[row], kind="stable")[:HITS]
    return items, cosines[row, items]


def _merged(
    hits: Sequence[tuple[NDArray[np.int64], Vectors]],
    answers: Answers,
    weights: Mapping[str, float] | None,
) -> list[str]:
    rankings = [[answers.ids[item] for item in items] for items, _ in hits]
    if weights is None:
        return interleave(rankings, DEPTH)
    return merge(rankings, [scores for _, scores in hits], weights, DEPTH)


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


def fit_known(found: Trials, false_accepts: float) -> dict[str, Any] | None:
    """What tells known products from strangers, and the threshold that lets `false_accepts` in.

    A logistic regression of the signs, and small trees that are boosted from it (Friedman 2001):
    signs count together, as a stretched print does only where there are inliers. The threshold is
    that of probabilities which other trials' fits gave: of its own trials a fit takes fewer
    strangers for known than of those to come.

    None without at least one trial of either kind.
    """
    from sklearn.model_selection import cross_val_predict

    if found.known.all() or not found.known.any():
        return None
    model = _boosted(len(found.known)).fit(found.signs, found.known)
    rarest = int(min(found.known.sum(), (~found.known).sum()))
    chances = (
        cross_val_predict(model, found.signs, found.known, cv=_FOLDS, method="predict_proba")
        if rarest >= _FOLDS
        else model.predict_proba(found.signs)
    )
    threshold = float(np.quantile(chances[~found.known, 1], 1 - false_accepts))
    weights, trees = _readable(model)
    return {"weights": weights, "trees": trees, "threshold": round(threshold, 6)}


def _boosted(trials: int) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Many signs that say nearly the same, of a few hundred trials: pulled towards zero.
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=_PULL, max_iter=1000))
    return GradientBoostingClassifier(
        init=linear,
        # sklearn wants one tree at least.
        n_estimators=_TREES if trials >= 4 * _LEAF else 1,
        learning_rate=_SHARE,
        max_depth=_DEPTH,
        min_samples_leaf=_LEAF,
        max_features=_TRIED,
        random_state=0,
    )


def _readable(model: Any) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """A fitted model as `unbundle.ranking.open_set` reads it."""
    scaler, linear = (step for _, step in model.init_.steps)
    slopes = linear.coef_[0] / scaler.scale_
    weights = dict(zip(SIGNS, slopes.tolist(), strict=True))
    weights["bias"] = float(linear.intercept_[0] - slopes @ scaler.mean_)
    trees = []
    for row in model.estimators_[:, 0]:
        nodes = row.tree_
        trees.append(
            {
                "sign": [
                    -1 if left < 0 else int(sign)
                    for sign, left in zip(nodes.feature, nodes.children_left, strict=True)
                ],
                "limit": [round(value, 6) for value in nodes.threshold.tolist()],
                "left": nodes.children_left.tolist(),
                "right": nodes.children_right.tolist(),
                "value": [round(_SHARE * value, 6) for value in nodes.value[:, 0, 0].tolist()],
            }
        )
    return {name: round(value, 6) for name, value in weights.items()}, trees
