"""Is an instance's product in the catalogue at all? A probability from what its search found.

How well the best product fits says little by itself; much lies in how the photos around it compare,
term by term of the embedding: a term that the search weighs low may still tell a stranger. And most
in whether the best product's photos show the very same print
(`unbundle.vision.geometric_verification`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from unbundle.ranking.embedding import TERMS
from unbundle.vision.geometric_verification import Evidence

NEAREST = 20
"""Photos around an instance that are looked at."""

_OTHERS = 5
"""Products that the best one is compared with together."""

SEEN = ("raw", "colour", "visual", "joint")
"""Terms that compare an instance with gallery photos as they compare with one another."""

PRINT = ("keypoints", "inliers", "inliers_any", "inliers_lead", "inliers_all", "share")
MATCH = ("like", "spread", "skew")

FEATURES = (
    "score",
    "lead",
    "ahead",
    "photos",
    *(f"nearest_{term}" for term in TERMS),
    *(f"first_{term}" for term in TERMS),
    *(f"beyond_{term}" for term in SEEN),
    *PRINT,
    *MATCH,
)
"""The best product's score, its lead over the second and over the mean of the next five, and the
mean score of its photos; by term the largest cosine of any photo, and of the best product's; by
term of `SEEN` how much nearer the other products' photos are to the instance than to the best
product's, in the mean: a stranger lies elsewhere among them than the product that it resembles.

`PRINT`, logarithms of counts: the instance's keypoints; the most inliers of any of the best
product's photos, of any photo, by how much more than of the others' photos, and of all the best
product's photos together; the largest share of the instance's keypoints. `MATCH`, of that product's
photo of most inliers: inliers of like colours, spread of their colours, and skew."""

SPREAD, SKEW = 5.0, 0.1
"""What counts for a photo of too few inliers to tell: about what strangers' photos have."""


@dataclass(frozen=True)
class Nearest:
    """The photos nearest to one instance, best first, `NEAREST` or as many as there are, n > 0.

    Attributes:
        scores: `[n]`.
        products: of each photo, `[n]`.
        cosines: with the instance, `[n]` by term of `unbundle.ranking.embedding.TERMS`.
        among: with one another, `[n, n]` by term of `SEEN`.
        evidence: of each photo, `[n]`.
        keypoints: of the instance.
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
        feature: which of `FEATURES` a node looks at, -1 for a leaf (`sign` in `bundle.json`).
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
            # Later nodes only: no walk goes round in circles.
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
    """Values of `FEATURES`, `[S]`, for one instance."""
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
    """Values of `PRINT` and `MATCH`; `own` `[n]` says which photos show the best product."""
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
    """The logistic function of the weighted `FEATURES` `[S]`, the bias and the trees."""
    total = weights["bias"] + values @ np.asarray([weights[name] for name in FEATURES])
    total += sum(tree(values) for tree in trees)
    return float(1 / (1 + np.exp(-total)))
