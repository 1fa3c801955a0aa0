"""What a bundle learns from the labelled dev queries; the networks are not touched.

Weights of the embedding's terms, the merging of a query's instances, and how likely an instance's
product is in the catalogue at all. The candidate network looks at stored tokens: Milvus is not
needed. A catalogue without labelled dev queries gets the params' weights, interleaves the instances
and claims no probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.embedding import Modality, Vectors
from serving.known import SIGNS, probability
from serving.merging import EVIDENCE, evidence, interleave, merge
from tasks.open_set import Trials, products, trials
from tasks.params import Export
from tasks.readout import HITS, gallery_cosines
from tasks.splits import is_fitted
from tasks.stored import Asked, StoredPhotos, term_scores
from tasks.weights import DEPTH, Answers, DevQuery, fit_weights, quality

MODES: tuple[Modality, ...] = ("both", "photo", "title")


@dataclass(frozen=True)
class Fitted:
    """What a bundle holds beside its networks, as `bundle.json` has it."""

    weights: Mapping[Modality, Mapping[str, float]]
    merging: Mapping[str, float] | None = None
    known: Mapping[str, Any] | None = None
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
    weights = {}
    for mode in MODES:
        asked = stored.queries(dev, mode)
        scores = term_scores(asked.heads, gallery)
        queries = dev_queries(dev, asked)
        weights[mode] = fit_weights(queries, scores, answers, start[mode], params.grid)
    asked = stored.queries(dev, "both")
    cosines = gallery_cosines(asked, gallery, weights["both"])
    return Fitted(
        weights,
        fit_merging(dev_queries(dev, asked), cosines, answers, params.spreads),
        _fit_known(dev, asked, cosines, answers, params.false_accepts, iou),
        len(dev),
    )


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


def _fit_known(
    dev: pd.DataFrame,
    asked: Asked,
    cosines: Vectors,
    answers: Answers,
    false_accepts: float,
    iou: float,
) -> dict[str, Any] | None:
    labels = np.asarray(answers.labels)
    parts = []
    rows = zip(asked.queries, dev["labels"], dev["boxes"], strict=True)
    for places, shown, boxes in rows:
        true = None if boxes is None else np.asarray(boxes, np.float32)
        named = products(asked.boxes[places], shown, true, iou)
        parts.append(trials(cosines[places], labels, named, asked.seen[places]))
    return fit_known(Trials.joined(parts), false_accepts)


def fit_known(found: Trials, false_accepts: float) -> dict[str, Any] | None:
    """Logistic weights of the signs, and the threshold that lets `false_accepts` of the unknown in.

    None without at least one trial of either kind.
    """
    from sklearn.linear_model import LogisticRegression

    if found.known.all() or not found.known.any():
        return None
    scale = found.signs.std(axis=0) + 1e-6
    model = LogisticRegression().fit(found.signs / scale, found.known)
    weights = dict(zip(SIGNS, (model.coef_[0] / scale).tolist(), strict=True))
    weights["bias"] = float(model.intercept_[0])
    weights = {name: round(value, 6) for name, value in weights.items()}
    strangers = [probability(row, weights) for row in found.signs[~found.known].tolist()]
    threshold = float(np.quantile(strangers, 1 - false_accepts))
    return {"weights": weights, "threshold": round(threshold, 6)}
