"""Trials of the open-set score: searches whose product is, or is not, in the gallery.

Every instance whose product is known gives two: a search in the whole gallery, and one in the
gallery without its product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.calibration.exact_search import within_reach
from tasks.calibration.keypoint_matches import StoredReranker
from unbundle.encoding.model_bundle import OpenSetSettings
from unbundle.ranking.embedding_parts import Modality, Vectors, term_scores
from unbundle.ranking.open_set_model import (
    FEATURES,
    NEAREST,
    Nearest,
    among,
    open_set_features,
    probability,
)
from unbundle.vision.boxes import Boxes, intersection_over_union

RELIABILITY_BINS = 10
"""Of the probability that a product is in the catalogue: some dozens of trials fall into each."""


@dataclass(frozen=True)
class Trials:
    """Searches with a known outcome.

    Attributes:
        features: `unbundle.ranking.open_set_model.FEATURES` float64 `[T, S]`.
        known: bool `[T]`, whether the product was in the gallery.
        modalities: of the queries, `[T]`.
        products: what was searched for, `[T]`.
    """

    features: NDArray[np.float64]
    known: NDArray[np.bool_]
    modalities: NDArray[np.str_]
    products: NDArray[np.str_]

    @classmethod
    def joined(cls, parts: Sequence["Trials"]) -> "Trials":
        """The trials of several queries in one, in their order."""
        empty = cls(
            np.zeros((0, len(FEATURES))), np.zeros(0, bool), np.zeros(0, str), np.zeros(0, str)
        )
        parts = [empty, *parts]
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.known for part in parts]),
            np.concatenate([part.modalities for part in parts]),
            np.concatenate([part.products for part in parts]),
        )

    def of(self, modalities: Sequence[Modality]) -> "Trials":
        """The trials of queries with these modalities."""
        mine = np.isin(self.modalities, modalities)
        return Trials(
            self.features[mine], self.known[mine], self.modalities[mine], self.products[mine]
        )


def products(
    proposals: Boxes, labels: Sequence[str], boxes: Boxes | None, iou: float
) -> list[str | None]:
    """The product that each proposal shows.

    Args:
        proposals: `[P, 4]` in pixels, best first.
        labels: what the photo shows.
        boxes: the true boxes, one per label, None where unknown.
        iou: overlap from which a proposal shows a true box's product.

    Returns:
        P labels, None where it cannot be told.
    """
    if boxes is None:
        # A photo of one product: its best proposal shows it.
        alone = labels[0] if len(labels) == 1 else None
        return [alone, *[None] * (len(proposals) - 1)]
    overlaps = intersection_over_union(proposals, np.asarray(boxes, np.float32))
    best = overlaps.argmax(axis=1)
    return [
        labels[place] if row[place] >= iou else None
        for place, row in zip(best, overlaps, strict=True)
    ]


def trials(
    scores: NDArray[np.float32],
    heads: Mapping[str, Vectors],
    parts: Mapping[str, Vectors],
    gallery: NDArray[np.str_],
    shown: Sequence[str | None],
    modality: Modality,
    reranker: StoredReranker,
) -> Trials:
    """Search for every instance whose product is known, with and without that product.

    Args:
        scores: of one query's instances with the gallery, before re-ranking, `[P, M]`.
        heads: of the instances, unit rows `[P, d]` by head.
        parts: of the gallery, unit rows `[M, d]` by part.
        gallery: labels `[M]`.
        shown: the product of each instance, None where unknown.
        modality: what the query has.
        reranker: of the query's instances.

    Returns:
        Two trials per instance, with its product first.
    """
    cosines = term_scores(heads, parts)
    rows, outcomes, searched = [], [], []
    for row, product in enumerate(shown):
        mine = gallery == product
        if product is None or not mine.any() or mine.all():
            continue
        order = within_reach(scores[row])
        for known, kept in ((True, order), (False, order[~mine[order]])):
            items, anew, evidence = reranker(row, kept, scores[row])
            items, anew, evidence = items[:NEAREST], anew[:NEAREST], evidence[:NEAREST]
            terms = {term: values[row, items] for term, values in cosines.items()}
            between = among({part: values[items] for part, values in parts.items()})
            labels = gallery[items].tolist()
            count = reranker.keypoints[row]
            rows.append(open_set_features(Nearest(anew, labels, terms, between, evidence, count)))
            outcomes.append(known)
            searched.append(product)
    return Trials(
        np.asarray(rows, np.float64).reshape(-1, len(FEATURES)),
        np.asarray(outcomes, bool),
        np.full(len(outcomes), modality),
        np.asarray(searched, str),
    )


def measure(found: Trials, open_set: Mapping[Modality, OpenSetSettings]) -> dict[str, Any] | None:
    """How well the probability tells known products from unknown ones.

    Args:
        found: trials of queries that the calibration has not seen.
        open_set: of the bundle; trials of other modalities do not count.

    Returns:
        `auroc`; at the bundle's threshold the rates of `false_accepts` (unknown products taken for
        known) and `false_rejects`; `reliability`: per bin of the probability how many `trials`, the
        mean `probability` and the share that was `known`. None without trials of both outcomes.
    """
    from sklearn.metrics import roc_auc_score

    found = found.of(list(open_set))
    if found.known.all() or not found.known.any():
        return None
    settings = [open_set[modality] for modality in found.modalities.tolist()]
    probabilities = np.asarray(
        [
            probability(row, one.weights, one.trees)
            for row, one in zip(found.features, settings, strict=True)
        ]
    )
    accepted = probabilities >= np.asarray([one.threshold for one in settings])
    places = np.minimum((probabilities * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    return {
        "trials": len(probabilities),
        "auroc": round(float(roc_auc_score(found.known, probabilities)), 6),
        "thresholds": {modality: one.threshold for modality, one in open_set.items()},
        "false_accepts": round(float(accepted[~found.known].mean()), 6),
        "false_rejects": round(float((~accepted)[found.known].mean()), 6),
        "reliability": [
            {
                "trials": int((places == place).sum()),
                "probability": round(float(probabilities[places == place].mean()), 4),
                "known": round(float(found.known[places == place].mean()), 4),
            }
            for place in range(RELIABILITY_BINS)
            if (places == place).any()
        ],
    }
