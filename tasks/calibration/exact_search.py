"""Exact search over stored photos: cosines and rankings by a bundle's weights, no Milvus."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.base.params import DEPTH
from tasks.calibration.encoded_queries import EncodedQueries
from unbundle.ranking.embedding_parts import PARTS, Vectors, join_parts, query_vectors
from unbundle.ranking.fusion import fuse, interleave

OUT_OF_REACH = np.float32(-10)
"""Score of what is not to be found: it ranks last, since no sum of weighted cosines is as low."""


def within_reach(scores: Vectors) -> NDArray[np.int64]:
    """Items of scores `[M]`, best first, but for those `OUT_OF_REACH`."""
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] > OUT_OF_REACH / 2]


HITS = 50
"""Hits of an instance that rank fusion reads."""


def gallery_cosines(
    asked: EncodedQueries, gallery: Mapping[str, Vectors], weights: Mapping[str, float]
) -> Vectors:
    """Cosines `[N, M]` of all instances with all gallery items, as the index would score them.

    Args:
        asked: the N instances.
        gallery: unit rows `[M, d]` by part.
        weights: by term of `unbundle.ranking.embedding_parts.TERMS`.
    """
    vectors = query_vectors(asked.heads, PARTS, weights)
    return np.asarray(vectors @ join_parts(gallery, PARTS).T, np.float32)


def rank_gallery(
    queries: Sequence[str],
    asked: EncodedQueries,
    cosines: Vectors,
    ids: Sequence[str],
    fusion: Mapping[str, float] | None,
) -> dict[str, list[str]]:
    """The first `tasks.base.params.DEPTH` gallery ids of each query.

    Args:
        queries: their ids, in the order of `asked`.
        asked: their instances.
        cosines: of `gallery_cosines`, `[N, M]`.
        ids: of the gallery `[M]`.
        fusion: weights of `unbundle.ranking.fusion.EVIDENCE`; None interleaves the rankings.

    Returns:
        Gallery ids, best first, by query id.
    """
    rankings = {}
    for query, places in zip(queries, asked.queries, strict=True):
        top = [within_reach(cosines[place])[:HITS] for place in places]
        lists = [[ids[item] for item in row] for row in top]
        found = [cosines[place, row] for place, row in zip(places, top, strict=True)]
        rankings[query] = (
            interleave(lists, DEPTH) if fusion is None else fuse(lists, found, fusion, DEPTH)
        )
    return rankings
