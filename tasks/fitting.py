"""What a bundle learns from the labelled dev queries; the networks are not touched.

Weights of the embedding's terms, the merging of a query's instances, and how likely an instance's
product is in the catalogue at all. The candidate network looks at stored tokens: Milvus is not
needed. A catalogue without labelled dev queries gets the params' weights, interleaves the instances
and claims no probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.embedding import Modality, Vectors, term_scores
from serving.known import SIGNS
from serving.merging import EVIDENCE, evidence, interleave, merge
from tasks.open_set import Trials, products, trials
from tasks.params import Export
from tasks.readout import HITS, gallery_cosines
from tasks.splits import is_fitted
from tasks.stored import Asked, StoredPhotos
from tasks.weights import DEPTH, Answers, DevQuery, fit_weights, quality

_PULL = 0.3
"""Inverse of how strongly the weights of `known` are pulled to zero."""

_FOLDS = 5
"""Of the trials, in their order, so that an instance's two stay together."""

MODES: tuple[Modality, ...] = ("both", "photo", "title")


@dataclass(frozen=True)
class Fitted:
    """What a bundle holds beside its networks, as `bundle.json` has it."""

    weights: Mapping[Modality, Mapping[str, float]]
    merging: Mapping[str, float] | None = None
    known: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    queries: int = 0
    """How many dev queries it was fitted on."""


def fit(stored: StoredPhotos, manifest: pd.DataFrame, params: Export, iou: float) -> Fitted:
    """Fit everything on half of the labelled dev queries.

    Args:
        stored: the candidate network and the visual tokens.
        manifest: of the catalogue.
        params: start values, grids and the wanted false-accept rate.
        iou: overlap from which a proposal shows a true box's product.
    """
    start = {mode: getattr(params.weights, mode).model_dump() for mode in MODES}
    dev = manifest[(manifest["split"] == "dev") & manifest["labels"].map(len).gt(0)]
    dev = dev[dev["id"].map(is_fitted)]
    rows = manifest[manifest["split"] == "gallery"]
    if dev.empty or rows.empty:
        return Fitted(start)
    gallery = stored.gallery(rows)
    answers = Answers.of(rows["id"].tolist(), [found[0] for found in rows["labels"]])
    weights: dict[Modality, dict[str, float]] = {}
    known: dict[Modality, dict[str, Any]] = {}
    merging = None
    for mode in MODES:
        asked = stored.queries(dev, mode)
        terms = term_scores(asked.heads, gallery)
        queries = dev_queries(dev, asked)
        weights[mode] = fit_weights(queries, terms, answers, start[mode], params.grid)
        scores = gallery_cosines(asked, gallery, weights[mode])
        if mode == "both":
            merging = fit_merging(queries, scores, answers, params.spreads)
        if mode != "title":
            found = _trials(dev, asked, scores, gallery, answers, mode, iou)
            if (settings := fit_known(found, params.false_accepts)) is not None:
                known[mode] = settings
    return Fitted(weights, merging, known, len(dev))


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
) -> Trials:
    labels = np.asarray(answers.labels)
    parts = []
    rows = zip(asked.queries, dev["labels"], dev["boxes"], strict=True)
    for places, shown, boxes in rows:
        true = None if boxes is None else np.asarray(boxes, np.float32)
        named = products(asked.boxes[places], shown, true, iou)
        mine = {head: values[places] for head, values in asked.heads.items()}
        parts.append(trials(scores[places], mine, gallery, labels, named, mode))
    return Trials.joined(parts)


def fit_known(found: Trials, false_accepts: float) -> dict[str, Any] | None:
    """Logistic weights of the signs, and the threshold that lets `false_accepts` of the unknown in.

    The threshold is that of probabilities which other trials' weights gave: of its own trials a fit
    takes fewer strangers for known than of those to come.

    None without at least one trial of either kind.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    if found.known.all() or not found.known.any():
        return None
    mean, scale = found.signs.mean(axis=0), found.signs.std(axis=0) + 1e-6
    columns = (found.signs - mean) / scale
    # Many signs that say nearly the same, of a few hundred trials: pulled towards zero.
    model = LogisticRegression(C=_PULL).fit(columns, found.known)
    slopes = model.coef_[0] / scale
    weights = dict(zip(SIGNS, slopes.tolist(), strict=True))
    weights["bias"] = float(model.intercept_[0] - slopes @ mean)
    weights = {name: round(value, 6) for name, value in weights.items()}
    rarest = int(min(found.known.sum(), (~found.known).sum()))
    chances = (
        cross_val_predict(model, columns, found.known, cv=_FOLDS, method="predict_proba")
        if rarest >= _FOLDS
        else model.predict_proba(columns)
    )
    threshold = float(np.quantile(chances[~found.known, 1], 1 - false_accepts))
    return {"weights": weights, "threshold": round(threshold, 6)}
