"""How closely an exported network follows the torch one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unbundle.encoding.model_bundle import Parity
from unbundle.ranking.embedding_parts import unit

NEIGHBOURS = 10


def parity_line(parity: Parity) -> str:
    """One line for people."""
    agreement = parity.top10_agreement
    tail = "" if agreement is None else f", same top 10 {agreement:.1%}"
    return f"max difference {parity.max_difference:.1e}, cosine ≥ {parity.min_cosine:.6f}{tail}"


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
    return Parity(
        max_difference=max(differences), min_cosine=min(cosines), top10_agreement=agreement
    )


def _rows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return unit(values.reshape(len(values), -1))


def _agreement(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    nearest = [
        np.argsort(-(rows @ rows.T), axis=1, kind="stable")[:, :NEIGHBOURS]
        for rows in (_rows(first), _rows(second))
    ]
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(*nearest, strict=True)]
    return float(np.mean(shared))
