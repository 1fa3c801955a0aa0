"""Query expansion: what is like photos that surely show the product is found, too.

The best photos on which local features were found again are asked as queries themselves (Chum et
al., ICCV 2007: only verified results expand), and what they find is added to the scores, weighed
by how well they answer (alpha query expansion: Radenović, Tolias and Chum, TPAMI 2019, in the
space of scores). A photo that shows the product from another side is so found through the one that
looks like the query.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from unbundle.ranking.embedding_parts import Vectors, query_vectors

SOURCES = 2
"""Best photos that are asked: on groceries better than one or three."""

VERIFIED = 10
"""Inliers from which a photo is asked. Asking the best ones whatever was found on them gains more
precision and loses coverage: a box that found a wrong product then finds more of it."""

_POWER = 3.0  # of a photo's score in its share


def photos_as_queries(
    parts: Mapping[str, Vectors], order: Sequence[str], weights: Mapping[str, float]
) -> Vectors:
    """Query vectors `[N, sum of d_p]` of gallery photos, as of queries of the same content.

    Args:
        parts: unit rows `[N, d_p]` by part.
        order: the bundle's order of parts.
        weights: by term, of the query that is expanded.
    """
    heads = {**parts, "read": parts["text"], "lexical_read": parts["lexical"]}
    return query_vectors(heads, order, weights)


def sources(inliers: Sequence[int]) -> list[int]:
    """Places of the photos that are asked, of all their inliers, best photo first."""
    return [place for place, count in enumerate(inliers) if count >= VERIFIED][:SOURCES]


def expansion(scores: Vectors, similar: Vectors) -> Vectors:
    """What is added to the scores of P photos, before its weight: `[P]`, never negative.

    Args:
        scores: of the S `sources`.
        similar: `[S, P]`, cosines of the sources, asked as queries, with all photos.
    """
    shares = np.maximum(scores, 0) ** _POWER
    found = shares @ similar / max(float(shares.sum()), 1e-9)
    return np.asarray(np.maximum(found, 0), np.float32)
