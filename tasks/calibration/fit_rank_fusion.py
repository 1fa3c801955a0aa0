"""The weights of rank fusion, fitted on labelled queries."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.base.params import DEPTH
from tasks.calibration.exact_search import HITS, within_reach
from tasks.calibration.fit_embedding_weights import AnswerKey, DevQuery, quality
from unbundle.ranking.embedding_parts import Vectors
from unbundle.ranking.fusion import CROWD, EVIDENCE, evidence, fuse, interleave

CROWDS = (0.05, 0.1, 0.2, 0.4)
"""Of `CROWD` that are tried, beside 0, in logits."""


def fit_fusion(
    queries: Sequence[DevQuery], cosines: Vectors, answers: AnswerKey, spreads: Sequence[float]
) -> dict[str, float] | None:
    """Weights of `unbundle.ranking.fusion.EVIDENCE` and `CROWD`; None to interleave.

    A logistic regression says how evidence becomes relevance. To rank by it serves precision; a
    query's every product wants a place, too: `spreads` tries further discounts by place, `CROWDS`
    of an instance's further items, and what maximises the mean of AP@10 and coverage@10 is kept.

    Args:
        queries: what was asked.
        cosines: `[N, M]` of all instances with the gallery.
        answers: the gallery's ids and labels.
        spreads: further weights of the logarithm of a place.
    """
    from sklearn.linear_model import LogisticRegression

    found = [[nearest_items(row, cosines) for row in query.rows] for query in queries]
    rows = [evidence(scores) for hits in found for _, scores in hits]
    relevant = [
        [answers.labels[item] in query.labels for item in items]
        for query, hits in zip(queries, found, strict=True)
        for items, _ in hits
    ]
    outcome = np.concatenate(relevant)
    if outcome.all() or not outcome.any():
        return None
    columns = np.concatenate(rows)
    scale = columns.std(axis=0) + 1e-6
    model = LogisticRegression().fit(columns / scale, outcome)
    base = dict(zip(EVIDENCE, (model.coef_[0] / scale).tolist(), strict=True))
    trials = [{**base, "rank": base["rank"] - spread, CROWD: 0.0} for spread in spreads]

    def judged(weights: dict[str, float] | None) -> float:
        rankings = [fused(hits, answers, weights) for hits in found]
        return quality(queries, rankings, answers)

    spread_out = max(trials, key=judged)
    trials = [spread_out, *({**spread_out, CROWD: crowd} for crowd in CROWDS)]
    best = max([None, *trials], key=judged)
    return None if best is None else {name: round(value, 6) for name, value in best.items()}


def nearest_items(row: int, cosines: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    """The `HITS` items `[H]`, or fewer, nearest to an instance of `[N, M]`, and their scores."""
    items = within_reach(cosines[row])[:HITS]
    return items, cosines[row, items]


def fused(
    hits: Sequence[tuple[NDArray[np.int64], Vectors]],
    answers: AnswerKey,
    weights: Mapping[str, float] | None,
) -> list[str]:
    """One ranking of ids from the hits of a query's instances; None as weights interleaves."""
    rankings = [[answers.ids[item] for item in items] for items, _ in hits]
    if weights is None:
        return interleave(rankings, DEPTH)
    return fuse(rankings, [scores for _, scores in hits], weights, DEPTH)
