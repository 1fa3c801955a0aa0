"""Is an instance's product in the catalogue at all? A probability from what its search found.

How well the best product fits says little by itself; much lies in how the photos around it compare,
term by term of the embedding: a term that the search weighs low may still tell a stranger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.embedding import TERMS

NEAREST = 20
"""Photos around an instance that are looked at."""

_OTHERS = 5
"""Products that the best one is compared with together."""

SEEN = ("raw", "colour", "visual", "joint")
"""Terms that compare an instance with gallery photos as they compare with one another."""

SIGNS = (
    "score",
    "lead",
    "ahead",
    "photos",
    *(f"nearest_{term}" for term in TERMS),
    *(f"first_{term}" for term in TERMS),
    *(f"beyond_{term}" for term in SEEN),
)
"""The best product's score, its lead over the second and over the mean of the next five, and the
mean score of its photos; by term the largest cosine of any photo, and of the best product's; by
term of `SEEN` how much nearer the other products' photos are to the instance than to the best
product's, in the mean: a stranger lies elsewhere among them than the product that it resembles."""


@dataclass(frozen=True)
class Nearest:
    """The photos nearest to one instance, best first, `NEAREST` or as many as there are, n > 0.

    Attributes:
        scores: `[n]`.
        products: of each photo, `[n]`.
        cosines: with the instance, `[n]` by term of `serving.embedding.TERMS`.
        among: with one another, `[n, n]` by term of `SEEN`.
    """

    scores: NDArray[np.float32]
    products: Sequence[str]
    cosines: Mapping[str, NDArray[np.float32]]
    among: Mapping[str, NDArray[np.float32]]


def among(parts: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Cosines `[n, n]` of gallery photos with one another, by term of `SEEN`.

    Args:
        parts: unit rows `[n, d]` by part.
    """
    return {term: parts[term] @ parts[term].T for term in SEEN}


def signs(nearest: Nearest) -> NDArray[np.float64]:
    """Values of `SIGNS`, `[S]`, for one instance."""
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
        ],
        np.float64,
    )


def probability(values: NDArray[np.float64], weights: Mapping[str, float]) -> float:
    """The logistic function of the weighted `SIGNS` `[S]` and the bias."""
    total = weights["bias"] + values @ np.asarray([weights[name] for name in SIGNS])
    return float(1 / (1 + np.exp(-total)))
