"""Weights of the embedding's terms, fitted on labelled dev queries where a catalogue has them.

Which of them, `tasks.calibration.fit.fitted_queries` says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tasks.base.params import DEPTH, Export
from tasks.metrics.ranking import average_precision, instance_coverage
from unbundle.ranking.embedding_parts import TERMS, Modality, Vectors
from unbundle.ranking.fusion import interleave


@dataclass(frozen=True)
class DevQuery:
    """A labelled query: its labels, the rows of its instances, best first, and ids not to find."""

    labels: frozenset[str]
    rows: NDArray[np.int64]
    junk: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AnswerKey:
    """Labels of the gallery's items, both ways.

    Attributes:
        ids, labels: of the M items.
        label_of: label by id.
        members: ids by label.
    """

    ids: Sequence[str]
    labels: Sequence[str]
    label_of: Mapping[str, str]
    members: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, ids: Sequence[str], labels: Sequence[str]) -> "AnswerKey":
        """From the gallery's ids and labels `[M]`."""
        members: dict[str, set[str]] = {}
        for item, label in zip(ids, labels, strict=True):
            members.setdefault(label, set()).add(item)
        label_of = dict(zip(ids, labels, strict=True))
        return cls(ids, labels, label_of, {key: frozenset(group) for key, group in members.items()})


def quality(
    queries: Sequence[DevQuery], rankings: Sequence[Sequence[str]], answers: AnswerKey
) -> float:
    """Mean over queries of (AP@10 + coverage@10) / 2, both of the corrected protocol."""
    values = []
    for query, ranking in zip(queries, rankings, strict=True):
        wanted = frozenset().union(*(answers.members.get(label, ()) for label in query.labels))
        precision = average_precision(ranking, wanted - query.junk, DEPTH)
        coverage = instance_coverage(ranking, query.labels, answers.label_of, DEPTH)
        values.append((precision + coverage) / 2)
    return float(np.mean(values))


def start_weights(params: Export, mode: Modality) -> dict[str, float]:
    """The parameters' weight by term; 0 for one that such a query does not have."""
    given: dict[str, float] = params.weights.model_dump()[mode]
    return dict.fromkeys(TERMS, 0.0) | given


def fit_weights(
    queries: Sequence[DevQuery],
    scores: Mapping[str, Vectors],
    answers: AnswerKey,
    start: Mapping[str, float],
    grid: Sequence[float],
) -> dict[str, float]:
    """Coordinate ascent over `grid` from `start` and from equal weights, whichever ends higher.

    Maximises `quality` of the interleaved rankings; a term with start 0 stays out.

    Args:
        queries: what is ranked; a query's rows point into the scores.
        scores: cosines `[N, M]` of all instances with the gallery, by term.
        answers: the gallery's ids and labels.
        start: weight by term.
        grid: the weights that are tried for each term.
    """
    scores = {term: scores[term] for term in start if start[term] > 0}
    # Interleaved lists overlap, so more than the counted places are needed of each.
    depth = min(len(answers.ids), 4 * DEPTH)

    known: dict[tuple[float, ...], float] = {}

    def judged(weights: Mapping[str, float]) -> float:
        key = tuple(weights.values())
        if key not in known:
            total = sum((weights[term] * scores[term] for term in scores), np.zeros(1, np.float32))
            lists = [[answers.ids[item] for item in row] for row in best_items(total, depth)]
            rankings = [interleave([lists[row] for row in query.rows], DEPTH) for query in queries]
            known[key] = quality(queries, rankings, answers)
        return known[key]

    def climbed(weights: dict[str, float]) -> tuple[float, dict[str, float]]:
        best, improved = judged(weights), True
        while improved:
            improved = False
            for term, weight in product(scores, grid):
                trial = {**weights, term: weight}
                if (
                    any(trial[name] > 0 for name in scores)
                    and (value := judged(trial)) > best + 1e-4
                ):
                    weights, best, improved = trial, value, True
        return best, weights

    # The quality has several local maxima: equal weights lie far enough from most starts to find
    # another.
    ends = [climbed(dict(start)), climbed({term: float(term in scores) for term in start})]
    return max(ends, key=lambda end: end[0])[1]


def best_items(scores: Vectors, depth: int) -> list[list[int]]:
    """The first `depth` items of each row of scores `[N, M]`, best first, equals by their place.

    As a stable sort gives them, without sorting what is not asked for.
    """
    negative = -scores
    limits = np.partition(negative, depth - 1, axis=1)[:, depth - 1 : depth]
    rows, items = np.nonzero(negative <= limits)
    order = np.lexsort((items, negative[rows, items], rows))
    starts = np.searchsorted(rows, np.arange(len(scores)))
    found: list[list[int]] = items[order][starts[:, None] + np.arange(depth)].tolist()
    return found
