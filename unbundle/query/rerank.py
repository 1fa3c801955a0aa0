"""Re-ranking: the photos nearest to an instance are verified by their local features.

A search compares pooled vectors, which lie close together for the products of one line. So the
instance's keypoints are matched with those of its `KeypointSettings.photos` nearest gallery photos,
and the matches that one similarity transform explains (inliers) add to a photo's score. Then the
best of these photos are asked themselves (`unbundle.ranking.query_expansion`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from unbundle.encoding.encoded_query import EncodedQuery
from unbundle.encoding.model_bundle import Bundle, EmbeddingSettings
from unbundle.index.gallery_collection import Gallery, Hit, Neighbours, best_per_product
from unbundle.ranking.embedding_parts import split_parts
from unbundle.ranking.query_expansion import expansion, photos_as_queries, sources
from unbundle.vision.geometric_verification import Evidence, bonus, verify
from unbundle.vision.keypoints import Keypoints


def rerank(
    gallery: Gallery, bundle: Bundle, query: EncodedQuery, found: Sequence[Neighbours]
) -> list[Neighbours]:
    """Verify the nearest photos of every instance of a query, and rank them anew.

    Stored keypoints and vectors of all instances' photos are read in one request.

    Args:
        gallery: that was searched.
        bundle: that made it: keypoint settings, and what an inlier adds to a score.
        query: what was asked.
        found: the search's result for each of its instances.

    Returns:
        One entry per instance, in the order of `found`. For a title alone nothing is verified and
        the rankings are those of `found`.
    """
    if not query.keypoints:
        return list(found)
    settings = bundle.keypoints
    closest = [[hit.id for hit in near.photos[: settings.photos]] for near in found]
    stored = gallery.stored(list(dict.fromkeys(name for names in closest for name in names)))
    local = {
        name: Keypoints.unpack(one.keypoints, settings.dimension) for name, one in stored.items()
    }
    weight = bundle.verification.get(query.modality, 0.0)
    reranked = []
    for near, names, own in zip(found, closest, query.keypoints, strict=True):
        # What was deleted since the search is no longer in the catalogue.
        there = [name for name in names if name in local]
        seen = verify(own, [local[name] for name in there], settings)
        evidence = dict(zip(there, seen, strict=True))
        verified = replace(rescored_neighbours(near, evidence, weight), stored=stored)
        expanded = bundle.expansion.get(query.modality, 0.0)
        weights = bundle.embedding.weights[query.modality]
        reranked.append(expanded_neighbours(verified, bundle.embedding, weights, expanded))
    return reranked


def rescored(hits: Sequence[Hit], evidence: Mapping[str, Evidence], weight: float) -> list[Hit]:
    """Hits with `weight * bonus(inliers)` added to their scores, best first.

    A bonus is never negative, and hits without evidence scored less than all verified ones: so they
    keep their scores and stay behind.

    Args:
        hits: best first.
        evidence: by id, of the first of them.
        weight: `Bundle.verification` of the query's modality.

    Returns:
        The same hits by falling score, equal scores by id; verified ones have `inliers`.
    """
    scored = [
        replace(
            hit,
            score=hit.score + weight * bonus(evidence[hit.id].inliers),
            inliers=evidence[hit.id].inliers,
        )
        if hit.id in evidence
        else hit
        for hit in hits
    ]
    return sorted(scored, key=lambda hit: (-hit.score, hit.id))


def rescored_neighbours(
    near: Neighbours, evidence: Mapping[str, Evidence], weight: float
) -> Neighbours:
    """Photos and products of one instance's search, both re-ranked (see `rescored`).

    No product is added: of one that `near.products` lacks, better photos may not have been found.
    """
    return _reordered(near, rescored(near.photos, evidence, weight), evidence)


def expanded_neighbours(
    near: Neighbours, embedding: EmbeddingSettings, weights: Mapping[str, float], weight: float
) -> Neighbours:
    """Add `weight * expansion` to the scores of verified photos, and rank anew.

    Args:
        near: with what the index holds of its verified photos.
        embedding: of the bundle.
        weights: by term, for what the query has.
        weight: `Bundle.expansion` of the query's modality.
    """
    known = [hit for hit in near.photos if hit.id in near.evidence]
    sure = sources([near.evidence[hit.id].inliers for hit in known])
    if not weight or not sure:
        return near
    vectors = np.stack([near.stored[hit.id].vector for hit in known])
    parts = split_parts(vectors[sure], embedding.parts, embedding.dimensions)
    asked = photos_as_queries(parts, embedding.parts, weights)
    scores = np.asarray([hit.score for hit in known], np.float32)
    anew = scores + np.float32(weight) * expansion(scores[sure], asked @ vectors.T)
    by_id = dict(zip((hit.id for hit in known), anew.tolist(), strict=True))
    photos = [replace(hit, score=by_id.get(hit.id, hit.score)) for hit in near.photos]
    photos.sort(key=lambda hit: (-hit.score, hit.id))
    return _reordered(near, photos, near.evidence)


def _reordered(near: Neighbours, photos: list[Hit], evidence: Mapping[str, Evidence]) -> Neighbours:
    sure = {hit.product for hit in near.products}
    products = [hit for hit in best_per_product(photos) if hit.product in sure]
    return Neighbours(products, photos, near.stored, evidence)
