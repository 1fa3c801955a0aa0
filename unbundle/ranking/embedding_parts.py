"""The instance embedding: six unit parts joined into one vector.

The paper joins the co-transformer's output with the two contrastive features (sec. 3.3). Here the
frozen backbone's pooled feature and the crop's colours come first (`raw`, `colour`, `visual`,
`text`, `joint`), the title's words as they are spelt last (`lexical`), and gallery parts count
alike. A query compares more than like with like: the visual and text heads share one space, so its
photo is compared with the gallery's titles as well, and its title's words that belong to the box
(`read`, `lexical_read`) once more. Each comparison is a term, `TERMS`, with a weight of the bundle;
the inner product of a query and a gallery vector is then, up to one constant per query,
`sum_t w_t cos(query_t, item_t)`, and new weights need no new index.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Modality = Literal["both", "photo", "title"]

PARTS = ("raw", "colour", "visual", "text", "joint", "lexical")

TERMS = {
    "raw": ("raw", "raw"),
    "colour": ("colour", "colour"),
    "visual": ("visual", "visual"),
    "text": ("text", "text"),
    "joint": ("joint", "joint"),
    "read": ("read", "text"),
    "photo_to_title": ("visual", "text"),
    "title_to_photo": ("text", "visual"),
    "lexical": ("lexical", "lexical"),
    "lexical_read": ("lexical_read", "lexical"),
}
"""By term: the query's head, and the gallery's part that it is compared with."""

UNTRAINED = ("raw", "lexical")
"""Terms of the plain search: what no training is needed for."""


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


def join_parts(parts: Mapping[str, Vectors], order: Sequence[str]) -> Vectors:
    """Join a gallery's parts `[N, d_p]` into unit vectors `[N, sum of d_p]`.

    Args:
        parts: rows by part; a missing modality's rows are zeros.
        order: the bundle's order of parts.
    """
    return unit(np.concatenate([unit(parts[part]) for part in order], axis=1))


def query_vectors(
    heads: Mapping[str, Vectors], order: Sequence[str], weights: Mapping[str, float]
) -> Vectors:
    """Query vectors `[N, sum of d_p]`, unit rows, to compare with `join_parts`' rows.

    Args:
        heads: `[N, d]` by head: the parts, `read` and `lexical_read`; a missing modality's rows are
            zeros.
        order: the bundle's order of parts.
        weights: by term of `TERMS`.
    """
    joined = {part: np.zeros_like(heads[part]) for part in order}
    for term, weight in weights.items():
        head, part = TERMS[term]
        joined[part] = joined[part] + np.float32(weight) * unit(heads[head])
    return unit(np.concatenate([joined[part] for part in order], axis=1))


def term_scores(heads: Mapping[str, Vectors], gallery: Mapping[str, Vectors]) -> dict[str, Vectors]:
    """Cosines `[N, M]` of instances with gallery items, by term.

    Args:
        heads: unit rows `[N, d]` by head.
        gallery: unit rows `[M, d]` by part.
    """
    return {term: heads[head] @ gallery[part].T for term, (head, part) in TERMS.items()}


def split_parts(
    vectors: Vectors, order: Sequence[str], dimensions: Sequence[int]
) -> dict[str, Vectors]:
    """Undo `join_parts` on gallery vectors: unit rows by part name (zero where it was missing)."""
    pieces = np.split(vectors, np.cumsum(dimensions)[:-1], axis=1)
    return {part: unit(piece) for part, piece in zip(order, pieces, strict=True)}
