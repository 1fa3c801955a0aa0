"""The corrected protocol: average precision and instance coverage with bootstrap intervals.

Instance coverage@K is subtopic recall, S-recall@K (Zhai, Cohen and Lafferty, SIGIR 2003), the
subtopics being the products in the photo.

Differences from the official one (`tasks.metrics.product1m_protocol`): AP is divided by what could
be found, labels are the set of relevant gallery items, a ranking that holds an id twice is refused,
and every query of the split counts, ranked or not.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unbundle.base.errors import UserError

Values = NDArray[np.float64]

_RESAMPLED_AT_ONCE = 4_000_000
"""Drawn indices that are held in memory together."""


@dataclass(frozen=True)
class Interval:
    """A mean over queries and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Rounded to what a metrics file needs."""
        return {"mean": round(self.mean, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


@dataclass(frozen=True)
class Corrected:
    """Per-query values `[N]` by K, in the order of `queries`."""

    queries: tuple[str, ...]
    average_precision: Mapping[int, Values]
    coverage: Mapping[int, Values]

    def summary(
        self, k: int, resamples: int, seed: int, members: NDArray[np.bool_] | None = None
    ) -> dict[str, dict[str, float]]:
        """Both means at one K with their intervals, over all queries or over `members` `[N]`."""
        values = {"mAP": self.average_precision[k], "coverage": self.coverage[k]}
        return {
            name: bootstrap(rows if members is None else rows[members], resamples, seed).as_json()
            for name, rows in values.items()
        }


def difference(first: Corrected, second: Corrected) -> Corrected:
    """`first` less `second`, query by query: its summary is the paired bootstrap.

    Raises:
        ValueError: they do not score the same queries.
    """
    if first.queries != second.queries:
        raise ValueError("a paired difference is of the same queries in the same order")
    return Corrected(
        first.queries,
        {k: values - second.average_precision[k] for k, values in first.average_precision.items()},
        {k: values - second.coverage[k] for k, values in first.coverage.items()},
    )


def average_precision(ranking: Sequence[str], relevant: AbstractSet[str], k: int) -> float:
    """AP@K: precision at each hit's rank, summed and divided by min(K, number of relevant items).

    Args:
        ranking: ids of gallery items, best first, none twice.
        relevant: ids of the gallery items that answer the query; 0 is returned where there is none.
        k: places that count.
    """
    total, hits = 0.0, 0
    for place, item in enumerate(ranking[:k], start=1):
        if item in relevant:
            hits += 1
            total += hits / place
    return total / min(k, len(relevant)) if relevant else 0.0


def instance_coverage(
    ranking: Sequence[str], labels: AbstractSet[str], gallery: Mapping[str, str], k: int
) -> float:
    """Share of a query's distinct labels that the first K places hold: S-recall@K, 0 to 1.

    Args:
        ranking: ids of gallery items, best first; ids that `gallery` lacks find nothing.
        labels: the query's labels, at least one.
        gallery: label of each gallery item by its id.
        k: places that count.
    """
    found = {gallery.get(item) for item in ranking[:k]}
    return sum(label in found for label in labels) / len(labels)


def coverage_by_depth(
    rankings: Mapping[str, Sequence[str]],
    queries: Mapping[str, Sequence[str]],
    gallery: Mapping[str, str],
    depth: int,
) -> Values:
    """Mean instance coverage `[depth]` at every K up to `depth`; arguments as of `corrected`."""
    found = np.zeros(depth)
    for query, labels in queries.items():
        missing = set(labels)
        for place, item in enumerate(rankings.get(query, ())[:depth]):
            if (label := gallery.get(item)) in missing:
                missing.discard(label)
                found[place] += 1 / len(set(labels))
    return np.asarray(np.cumsum(found) / len(queries), np.float64)


def corrected(
    rankings: Mapping[str, Sequence[str]],
    queries: Mapping[str, Sequence[str]],
    gallery: Mapping[str, str],
    ks: Sequence[int],
    junk: Mapping[str, Sequence[str]] | None = None,
) -> Corrected:
    """Score every query of `queries`; one without a ranking scores 0.

    Args:
        rankings: ids of gallery items by query id, best first.
        queries: instance labels by query id, at least one each.
        gallery: label of each gallery item by its id.
        ks: the depths to score at.
        junk: by query id, gallery items that are no answer though they show what was asked; the
            rankings hold none of them.

    Raises:
        UserError: a ranking holds an id twice.
    """
    for query, ranking in rankings.items():
        refuse_duplicates(query, ranking)
    relevant = _relevant(queries, gallery)
    for query, items in (junk or {}).items():
        relevant[query].difference_update(items)
    ranked = [(rankings.get(query, ()), query) for query in queries]
    return Corrected(
        queries=tuple(queries),
        average_precision={
            k: np.array([average_precision(ids, relevant[query], k) for ids, query in ranked])
            for k in ks
        },
        coverage={
            k: np.array(
                [instance_coverage(ids, set(queries[query]), gallery, k) for ids, query in ranked]
            )
            for k in ks
        },
    )


def refuse_duplicates(query: str, ranking: Sequence[str]) -> None:
    """Refuse a ranking that holds an id twice: it would be paid twice for one find.

    Raises:
        UserError: it does; the message names the query and the id.
    """
    if len(set(ranking)) == len(ranking):
        return
    twice = next(item for place, item in enumerate(ranking) if item in ranking[:place])
    raise UserError(f"query {query}: its ranking holds {twice} twice; rank every item once")


def _relevant(
    queries: Mapping[str, Sequence[str]], gallery: Mapping[str, str]
) -> dict[str, set[str]]:
    members: dict[str, set[str]] = {}
    for item, label in gallery.items():
        members.setdefault(label, set()).add(item)
    return {
        query: set().union(*(members.get(label, set()) for label in labels))
        for query, labels in queries.items()
    }


def bootstrap(values: Values, resamples: int, seed: int) -> Interval:
    """The mean of values `[N]` with its 95 % percentile bootstrap interval over queries.

    The paired bootstrap of two rankers is this function of their per-query differences: both are
    then resampled with the same queries.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("a mean over queries; there are none")
    generator = np.random.default_rng(seed)
    rows = max(1, _RESAMPLED_AT_ONCE // len(values))
    means = [
        values[
            generator.integers(0, len(values), (min(rows, resamples - start), len(values)))
        ].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))
