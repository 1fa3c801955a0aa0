"""Weights of the embedding's parts, fitted on labelled dev queries where a catalogue has them.

Only half of the dev queries is used (`tasks.splits.is_fitted`), so that the other half of a
catalogue without a test split stays unseen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from serving.embedding import Vectors
from serving.merging import interleave
from tasks.metrics import average_precision, instance_coverage

DEPTH = 10
"""Places that the fit looks at: the gate reads mAP@10 and coverage@10."""


@dataclass(frozen=True)
class DevQuery:
    """A labelled query: its labels and the rows of its instances, best first."""

    labels: frozenset[str]
    rows: NDArray[np.int64]


def fit_weights(
    queries: Sequence[DevQuery],
    instances: Mapping[str, Vectors],
    gallery: Mapping[str, Vectors],
    gallery_ids: Sequence[str],
    gallery_labels: Sequence[str],
    start: Mapping[str, float],
    grid: Sequence[float],
) -> dict[str, float]:
    """Coordinate ascent over `grid` from `start`; a part with start 0 stays out.

    Maximises the mean of corrected AP@10 and coverage@10 of the interleaved rankings.

    Args:
        queries: what is ranked.
        instances: unit rows `[N, d_p]` by part; a query's rows point into them.
        gallery: unit rows `[M, d_p]` by part.
        gallery_ids, gallery_labels: of the M rows.
        start: weight by part.
        grid: the weights that are tried for each part.
    """
    scores = {part: instances[part] @ gallery[part].T for part in start if start[part] > 0}
    label_of = dict(zip(gallery_ids, gallery_labels, strict=True))
    relevant = {
        label: {item for item in gallery_ids if label_of[item] == label}
        for label in {label for query in queries for label in query.labels}
    }

    def quality(weights: Mapping[str, float]) -> float:
        total = sum((weights[part] * scores[part] for part in scores), np.zeros(1, np.float32))
        # Interleaved lists overlap, so more than the counted places are needed of each.
        depth = min(len(gallery_ids), 4 * DEPTH)
        top = np.argsort(-total, axis=1, kind="stable")[:, :depth]
        values = []
        for query in queries:
            lists = [[gallery_ids[item] for item in top[row]] for row in query.rows]
            ranking = interleave(lists, DEPTH)
            wanted = set().union(*(relevant[label] for label in query.labels))
            precision = average_precision(ranking, wanted, DEPTH)
            coverage = instance_coverage(ranking, query.labels, label_of, DEPTH)
            values.append((precision + coverage) / 2)
        return float(np.mean(values))

    weights, best = dict(start), quality(start)
    improved = True
    while improved:
        improved = False
        for part, weight in product(scores, grid):
            trial = {**weights, part: weight}
            if any(trial[name] > 0 for name in scores) and (value := quality(trial)) > best + 1e-4:
                weights, best, improved = trial, value, True
    return weights
