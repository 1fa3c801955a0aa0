"""The open-set score of a query's instances: how likely the catalogue has their products."""

from collections.abc import Sequence

import numpy as np

from unbundle.encoding.encoded_query import EncodedQuery
from unbundle.encoding.model_bundle import Bundle, OpenSetSettings
from unbundle.index.gallery_collection import Neighbours
from unbundle.ranking.embedding_parts import split_parts, term_scores
from unbundle.ranking.open_set_model import NEAREST, Nearest, among, open_set_features, probability


def known_probabilities(
    bundle: Bundle, query: EncodedQuery, reranked: Sequence[Neighbours]
) -> list[float | None]:
    """The probability, for each instance of a query, that the gallery holds its product.

    It reads the `NEAREST` best of the verified photos (`unbundle.ranking.open_set_model`).

    Args:
        bundle: that made the gallery.
        query: what was asked.
        reranked: what lies nearest to each of its instances.

    Returns:
        0 to 1 per instance: 0 where no photo was found, None for a title alone and where the bundle
        was not calibrated for what the query has.
    """
    settings = bundle.open_set.get(query.modality)
    if settings is None or not query.keypoints:
        return [None] * len(reranked)
    return [
        _known_probability(near, query, row, bundle, settings) for row, near in enumerate(reranked)
    ]


def _known_probability(
    near: Neighbours, query: EncodedQuery, row: int, bundle: Bundle, settings: OpenSetSettings
) -> float:
    hits = [hit for hit in near.photos if hit.id in near.evidence][:NEAREST]
    if not hits:
        return 0.0
    embedding = bundle.embedding
    vectors = np.stack([near.stored[hit.id].vector for hit in hits])
    parts = split_parts(vectors, embedding.parts, embedding.dimensions)
    mine = {head: rows[row : row + 1] for head, rows in query.heads.items()}
    nearest = Nearest(
        np.asarray([hit.score for hit in hits], np.float32),
        [hit.product for hit in hits],
        {term: values[0] for term, values in term_scores(mine, parts).items()},
        among(parts),
        [near.evidence[hit.id] for hit in hits],
        len(query.keypoints[row]),
    )
    return probability(open_set_features(nearest), settings.weights, settings.trees)
