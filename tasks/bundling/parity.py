"""How closely an exported network follows the torch one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from unbundle.ranking.embedding import unit

NEIGHBOURS = 10


@dataclass(frozen=True)
class Parity:
    """Figures over the compared outputs.

    Attributes:
        max_difference: largest absolute difference of any value.
        min_cosine: smallest cosine between a row and its exported twin.
        top10_agreement: share of the ten nearest rows that both agree on; None for outputs that
            are not searched.
    """

    max_difference: float
    min_cosine: float
    top10_agreement: float | None

    def as_json(self) -> dict[str, float | None]:
        """Plain values for `bundle.json`."""
        return asdict(self)

    def line(self) -> str:
        """One line for people."""
        agreement = self.top10_agreement
        tail = "" if agreement is None else f", same top 10 {agreement:.1%}"
        return f"max difference {self.max_difference:.1e}, cosine ≥ {self.min_cosine:.6f}{tail}"


def compare(
    expected: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]], retrieve: bool
) -> Parity:
    """Compare outputs pairwise; each has rows along axis 0.

    Args:
        expected: torch's outputs.
        found: ONNX Runtime's outputs, in the same order and shapes.
        retrieve: whether the rows are embeddings whose neighbours matter.
    """
    differences = [float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True)]
    cosines = [
        float((_rows(a) * _rows(b)).sum(axis=1).min()) for a, b in zip(expected, found, strict=True)
    ]
    agreement = None
    if retrieve:
        agreement = float(np.mean([_agreement(a, b) for a, b in zip(expected, found, strict=True)]))
    return Parity(max(differences), min(cosines), agreement)


def _rows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return unit(values.reshape(len(values), -1))


def _agreement(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    nearest = [
        np.argsort(-(rows @ rows.T), axis=1, kind="stable")[:, :NEIGHBOURS]
        for rows in (_rows(first), _rows(second))
    ]
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(*nearest, strict=True)]
    return float(np.mean(shared))
