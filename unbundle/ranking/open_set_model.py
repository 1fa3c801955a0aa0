"""The open-set score: the probability that an instance's product is in the catalogue at all.

A logistic regression and boosted trees read `FEATURES` of the instance's nearest photos; each is
explained in the table "Features of the open-set score" of docs/glossary.md. The best product's
score says little by itself. More is in the cosines of the single terms of the embedding, also of
terms that the search weighs low, and most in how many local features of the instance are found
again on the best product's photos (`unbundle.vision.geometric_verification`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from unbundle.ranking.embedding_parts import TERMS
from unbundle.vision.geometric_verification import Evidence

NEAREST = 20
"""Photos of an instance's re-ranked search that the features are computed from."""

_OTHERS = 5
"""Runners-up, beyond the best product, whose mean score `ahead` compares with."""

SEEN = ("raw", "colour", "visual", "joint")
"""Terms that compare an instance with gallery photos as they compare with one another."""

FEATURES = (
    "score",
    "lead",
    "ahead",
    "photos",
    *(f"nearest_{term}" for term in TERMS),
    *(f"first_{term}" for term in TERMS),
    *(f"beyond_{term}" for term in SEEN),
    "keypoints",
    "inliers",
    "inliers_any",
    "inliers_lead",
    "inliers_all",
    "share",
    "like",
    "spread",
    "skew",
)
"""Names of the 37 features, in the order of the trees' indices; docs/glossary.md explains each."""

SPREAD, SKEW = 5.0, 0.1
"""`spread` and `skew` of a photo with too few inliers to measure them: about the mean of photos of
other products."""


@dataclass(frozen=True)
class Nearest:
    """The photos nearest to one instance, best first, `NEAREST` or as many as there are, n > 0.

    Attributes:
        scores: of the photos after re-ranking, `[n]`.
        products: what each photo shows, `[n]`.
        cosines: of instance and photos, `[n]` by term of `unbundle.ranking.embedding_parts.TERMS`.
        among: cosines of the photos with one another, `[n, n]` by term of `SEEN`.
        evidence: geometric verification of each photo, `[n]`.
        keypoints: how many the instance has.
    """

    scores: NDArray[np.float32]
    products: Sequence[str]
    cosines: Mapping[str, NDArray[np.float32]]
    among: Mapping[str, NDArray[np.float32]]
    evidence: Sequence[Evidence]
    keypoints: int


class Tree(BaseModel):
    """A regression tree over the features; nodes by number, the root first.

    Attributes:
        feature: index in `FEATURES` that a node compares, -1 for a leaf (`sign` in `bundle.json`).
        limit: up to which its value goes left.
        left, right: the next node.
        value: of a leaf.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    feature: tuple[int, ...] = Field(min_length=1, alias="sign")
    limit: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        nodes = len(self.feature)
        if any(len(row) != nodes for row in (self.limit, self.left, self.right, self.value)):
            raise ValueError(f"expected {nodes} numbers of each kind, one per node")
        for node, feature in enumerate(self.feature):
            # Later nodes only, so that every walk ends.
            after = all(node < child < nodes for child in (self.left[node], self.right[node]))
            if not (feature == -1 or (0 <= feature < len(FEATURES) and after)):
                raise ValueError(f"node {node}: expected a feature and two later nodes, or a leaf")
        return self

    def __call__(self, values: NDArray[np.float64]) -> float:
        """The value of the leaf that `FEATURES` values `[S]` lead to."""
        node = 0
        while (feature := self.feature[node]) >= 0:
            node = self.left[node] if values[feature] <= self.limit[node] else self.right[node]
        return self.value[node]


def among(parts: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Cosines `[n, n]` of gallery photos with one another, by term of `SEEN`.

    Args:
        parts: unit rows `[n, d]` by part.
    """
    return {term: parts[term] @ parts[term].T for term in SEEN}


def open_set_features(nearest: Nearest) -> NDArray[np.float64]:
    """The values of `FEATURES`, float64 `[37]`, of one instance.

    Args:
        nearest: its nearest photos; the first one shows the best product.
    """
    scores, first = nearest.scores, nearest.products[0]
    best: dict[str, float] = {}
    for product, score in zip(nearest.products, scores.tolist(), strict=True):
        best.setdefault(product, score)
    # Where all photos are of one product, the others score at most what the last one does.
    others = list(best.values())[1 : 1 + _OTHERS] or [float(scores[-1])]
    own = np.asarray([product == first for product in nearest.products])
    top = float(scores[0])

    def beyond(term: str) -> float:
        if own.all():
            return 0.0
        theirs = nearest.among[term][np.ix_(own, ~own)]
        return float(nearest.cosines[term][~own].mean() - theirs.mean())

    return np.asarray(
        [
            top,
            top - others[0],
            top - float(np.mean(others)),
            scores[own].mean(),
            *(nearest.cosines[term].max() for term in TERMS),
            *(nearest.cosines[term][own].max() for term in TERMS),
            *(beyond(term) for term in SEEN),
            *_match_features(nearest, own),
        ],
        np.float64,
    )


def _match_features(nearest: Nearest, own: NDArray[np.bool_]) -> list[float]:
    """The features from `keypoints` on; `own` `[n]` says which photos show the best product."""
    counts = np.asarray([one.inliers for one in nearest.evidence])
    best = nearest.evidence[int(np.where(own, counts, -1).argmax())]
    others = counts[~own].max(initial=0)
    inliers = np.log1p(best.inliers)
    return [
        float(np.log1p(nearest.keypoints)),
        float(inliers),
        float(np.log1p(counts.max())),
        float(inliers - np.log1p(others)),
        float(np.log1p(counts[own].sum())),
        best.share,
        float(np.log1p(best.like)),
        SPREAD if best.spread is None else best.spread,
        SKEW if best.skew is None else best.skew,
    ]


def probability(
    values: NDArray[np.float64], weights: Mapping[str, float], trees: Sequence[Tree] = ()
) -> float:
    """The open-set score, 0 to 1: the logistic function of weighted features, bias and trees.

    Args:
        values: of `open_set_features`, `[37]`.
        weights: by `FEATURES`, and `bias`.
        trees: whose values are added to the weighted sum.
    """
    total = weights["bias"] + values @ np.asarray([weights[name] for name in FEATURES])
    total += sum(tree(values) for tree in trees)
    return float(1 / (1 + np.exp(-total)))
