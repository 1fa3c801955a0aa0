"""The instance embedding: four unit parts joined into one unit vector.

The paper joins the co-transformer's output with the two contrastive features (sec. 3.3). Here the
frozen backbone's pooled feature is the first of four parts (`raw`, `visual`, `text`, `joint`).
Gallery parts count alike; a query's parts carry the weights of the bundle. The inner product of a
query and a gallery vector is then, up to one constant per query, `sum_p w_p cos(query_p, item_p)`,
and new weights need no new index.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Modality = Literal["both", "photo", "title"]

PARTS = ("raw", "visual", "text", "joint")


def unit(vectors: Vectors) -> Vectors:
    """Scale each row of `[N, d]` to Euclidean length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def modality(has_photo: bool, has_title: bool) -> Modality:
    """Which of a bundle's weights apply to a query.

    Raises:
        ValueError: neither is there.
    """
    if not (has_photo or has_title):
        raise ValueError("a query needs a photo or a title")
    return "both" if has_photo and has_title else "photo" if has_photo else "title"


def join_parts(
    parts: Mapping[str, Vectors], order: Sequence[str], weights: Sequence[float] | None = None
) -> Vectors:
    """Join parts `[N, d_p]` into unit vectors `[N, sum of d_p]`.

    Args:
        parts: rows by part name; a missing modality's rows are zeros.
        order: the bundle's order of parts.
        weights: one per part for a query; None for a gallery item, whose parts count alike.
    """
    factors = [1.0] * len(order) if weights is None else weights
    scaled = [unit(parts[part]) * factor for part, factor in zip(order, factors, strict=True)]
    return unit(np.concatenate(scaled, axis=1))


def split_parts(
    vectors: Vectors, order: Sequence[str], dimensions: Sequence[int]
) -> dict[str, Vectors]:
    """Undo `join_parts` on gallery vectors: unit rows by part name (zero where it was missing)."""
    pieces = np.split(vectors, np.cumsum(dimensions)[:-1], axis=1)
    return {part: unit(piece) for part, piece in zip(order, pieces, strict=True)}
