"""How likely the products of some queries are in the catalogue, by the photos around them."""

from collections.abc import Sequence

import numpy as np

from serving.bundle import Bundle, KnownSettings
from serving.embedding import Vectors, split_parts, term_scores
from serving.encoder import Encoded
from serving.gallery import Found, Gallery
from serving.known import NEAREST, Nearest, among, probability, signs


def chances(
    gallery: Gallery, bundle: Bundle, asked: Sequence[Encoded], found: Sequence[Sequence[Found]]
) -> list[list[float | None]]:
    """The probability of each instance of each query; None where it was not calibrated.

    The stored vectors of all photos around them are read in one request.

    Args:
        gallery: that was searched.
        bundle: that made it.
        asked: the queries.
        found: what is nearest to each of their instances.
    """
    calibrated = [bundle.known.get(encoded.modality) for encoded in asked]
    wanted = dict.fromkeys(
        hit.id
        for settings, instances in zip(calibrated, found, strict=True)
        for near in instances
        for hit in near.photos[:NEAREST]
        if settings is not None
    )
    stored = gallery.vectors(list(wanted)) if wanted else {}
    return [
        [
            None if settings is None else _chance(near, encoded, row, stored, bundle, settings)
            for row, near in enumerate(instances)
        ]
        for settings, encoded, instances in zip(calibrated, asked, found, strict=True)
    ]


def _chance(
    near: Found,
    encoded: Encoded,
    row: int,
    stored: dict[str, Vectors],
    bundle: Bundle,
    settings: KnownSettings,
) -> float:
    # What was deleted since the search is no longer in the catalogue.
    hits = [hit for hit in near.photos[:NEAREST] if hit.id in stored]
    if not hits:
        return 0.0
    embedding = bundle.embedding
    vectors = np.stack([stored[hit.id] for hit in hits])
    parts = split_parts(vectors, embedding.parts, embedding.dimensions)
    mine = {head: rows[row : row + 1] for head, rows in encoded.heads.items()}
    nearest = Nearest(
        np.asarray([hit.score for hit in hits], np.float32),
        [hit.product for hit in hits],
        {term: values[0] for term, values in term_scores(mine, parts).items()},
        among(parts),
    )
    return probability(signs(nearest), settings.weights)
