"""Weights of the embedding's terms, fitted on labelled dev queries where a catalogue has them.

Which of them, `tasks.calibration.fit.fitted_queries` says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tasks.base.params import DEPTH, Export
from tasks.data.composed_queries import without_junk
from tasks.metrics.ranking import average_precision, instance_coverage
from unbundle.ranking.embedding_parts import TERMS, UNTRAINED, Modality, Vectors
from unbundle.ranking.fusion import interleave

PAIRS = 4
"""Times that the queries are split for `fit_weights`; each gives two fits of half the cost."""

PLAIN_SHARES = (1.0, 0.35, 2.0)
"""Of the raw feature in a plain search, beside words that count 1."""

FEWEST = 4
"""Queries in a half: fewer say nothing of ten weights."""


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
    """The mean of fits on halves of the queries, or fixed weights where those do no worse.

    A fit on few queries follows their accidents, so `PAIRS` times they are split at random, each
    half is fitted by itself, and the weights, scaled to a sum of 1, are averaged (subagging:
    Bühlmann and Yu, Annals of Statistics 2002; in complementary pairs: Shah and Samworth, JRSS B
    2013). Every fit is judged on the half that it has not seen, and so are `start` and the plain
    search, of the untrained terms alone: whichever is best there is taken, so that few or noisy
    queries lead back to what needs none.

    Args:
        queries: what is ranked; a query's rows point into the scores.
        scores: cosines `[N, M]` of all instances with the gallery, by term.
        answers: the gallery's ids and labels.
        start: weight by term; one of 0 stays out.
        grid: the weights that are tried for each term.
    """
    used = [term for term in start if start[term] > 0]
    fixed = [dict(start), *_plain(start)]
    if len(queries) < 2 * FEWEST:
        return max(fixed, key=_Judge(queries, scores, answers, used))
    # The same halves for every network: two fits of one catalogue differ by what they are fits of.
    rng = np.random.default_rng(0)
    fitted, unseen = [], np.zeros(1 + len(fixed))
    for _ in range(PAIRS):
        order = rng.permutation(len(queries))
        halves = [
            _Judge([queries[place] for place in sorted(half)], scores, answers, used)
            for half in np.array_split(order, 2)
        ]
        for mine, other in (halves, halves[::-1]):
            weights = _climbed(mine, start, used, grid)
            fitted.append(weights)
            unseen += [other(trial) for trial in (weights, *fixed)]
    if unseen[0] > unseen[1:].max():
        shares = [{term: one[term] / sum(one.values()) for term in one} for one in fitted]
        means = {term: float(np.mean([share[term] for share in shares])) for term in start}
        return {term: round(mean / max(means.values()), 4) for term, mean in means.items()}
    return max(fixed, key=_Judge(queries, scores, answers, used))


def _plain(start: Mapping[str, float]) -> list[dict[str, float]]:
    """Weights of the untrained terms alone, by how much the raw feature counts beside the words."""
    none = dict.fromkeys(start, 0.0)
    own = [term for term in UNTRAINED if start.get(term, 0) > 0]
    trials = [none | dict.fromkeys(own, 1.0) | {"raw": share} for share in PLAIN_SHARES]
    return trials if len(own) == len(UNTRAINED) else [none | {term: 1.0} for term in own]


class _Judge:
    """The `quality` of weights on some queries, computed once for each."""

    def __init__(
        self,
        queries: Sequence[DevQuery],
        scores: Mapping[str, Vectors],
        answers: AnswerKey,
        used: Sequence[str],
    ) -> None:
        rows = np.concatenate([np.zeros(0, np.int64), *(query.rows for query in queries)])
        ends = np.cumsum([len(query.rows) for query in queries])
        self._places = [
            range(end - len(query.rows), end) for query, end in zip(queries, ends, strict=True)
        ]
        self._scores = {term: scores[term][rows] for term in used}
        self._queries, self._answers = queries, answers
        # Interleaved lists overlap, so more than the counted places are needed of each.
        self._depth = min(len(answers.ids), 4 * DEPTH)
        self._known: dict[tuple[float, ...], float] = {}

    def __call__(self, weights: Mapping[str, float]) -> float:
        key = tuple(weights[term] for term in self._scores)
        if key not in self._known:
            total = sum(
                (weights[term] * values for term, values in self._scores.items()),
                np.zeros(1, np.float32),
            )
            ids = self._answers.ids
            lists = [[ids[item] for item in row] for row in best_items(total, self._depth)]
            rankings = [
                interleave([without_junk(lists[row], query.junk) for row in rows], DEPTH)
                for query, rows in zip(self._queries, self._places, strict=True)
            ]
            self._known[key] = quality(self._queries, rankings, self._answers)
        return self._known[key]


def _climbed(
    judged: _Judge, start: Mapping[str, float], used: Sequence[str], grid: Sequence[float]
) -> dict[str, float]:
    """Coordinate ascent from `start` and from equal weights, whichever ends higher."""

    def ascent(weights: dict[str, float]) -> tuple[float, dict[str, float]]:
        best, improved = judged(weights), True
        while improved:
            improved = False
            for term, weight in product(used, grid):
                trial = {**weights, term: weight}
                if any(trial[name] > 0 for name in used) and (value := judged(trial)) > best + 1e-4:
                    weights, best, improved = trial, value, True
        return best, weights

    # The quality has several local maxima: equal weights lie far enough from most starts to find
    # another.
    ends = [ascent(dict(start)), ascent({term: float(term in used) for term in start})]
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
