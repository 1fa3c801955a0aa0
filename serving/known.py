"""Is an instance's product in the catalogue at all? A probability from what its search found."""

from collections.abc import Mapping, Sequence

import numpy as np

SIGNS = ("score", "lead", "seen")
"""The best product's cosine, its lead over the second product, and the detector's score."""


def signs(products: Sequence[float], seen: float) -> tuple[float, float, float]:
    """Values of `SIGNS` for one instance.

    Args:
        products: cosines of the two best products, best first; a catalogue may hold only one.
        seen: the detector's score.
    """
    second = products[1] if len(products) > 1 else 0.0
    return products[0], products[0] - second, seen


def probability(values: Sequence[float], weights: Mapping[str, float]) -> float:
    """The logistic function of the weighted `SIGNS` and the bias."""
    total = weights["bias"] + sum(
        weights[name] * value for name, value in zip(SIGNS, values, strict=True)
    )
    return float(1 / (1 + np.exp(-total)))
