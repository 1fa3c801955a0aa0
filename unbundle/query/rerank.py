"""The photos nearest to an instance, reranked at once more: do they show the very same print?

A search compares pooled vectors, which lie close for the bottles of one brand. Of the nearest
photos of each instance the keypoints are compared, and what is found again adds to their scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unbundle.encoding.bundle import Bundle
from unbundle.encoding.encoder import Encoded
from unbundle.index.gallery import Found, Gallery, Hit, Stored, best_per_product
from unbundle.vision.geometric_verification import Evidence, bonus, verify
from unbundle.vision.keypoints import Keypoints


@dataclass(frozen=True)
class EncodedQuery:
    """One query, encoded."""

    encoded: Encoded
    keypoints: Sequence[Keypoints]
    """Of each instance; empty for a title alone."""


@dataclass(frozen=True)
class Reranked:
    """What lies nearest to one instance after the second look."""

    found: Found
    stored: Mapping[str, Stored]
    """By id, of the photos that were reranked at, and of others; empty for a title alone."""
    evidence: Mapping[str, Evidence]
    """By id, of the photos that were reranked at."""


def rerank(
    gallery: Gallery, bundle: Bundle, asked: EncodedQuery, found: Sequence[Found]
) -> list[Reranked]:
    """Verify the nearest photos of every instance of a query.

    Their stored keypoints and vectors are read in one request.

    Args:
        gallery: that was searched.
        bundle: that made it.
        asked: the query.
        found: what is nearest to each of its instances.
    """
    if not asked.keypoints:
        return [Reranked(near, {}, {}) for near in found]
    settings = bundle.keypoints
    closest = [[hit.id for hit in near.photos[: settings.photos]] for near in found]
    stored = gallery.stored(list(dict.fromkeys(name for names in closest for name in names)))
    local = {
        name: Keypoints.unpack(one.keypoints, settings.dimension) for name, one in stored.items()
    }
    weight = bundle.verification.get(asked.encoded.modality, 0.0)
    reranked = []
    for near, names, own in zip(found, closest, asked.keypoints, strict=True):
        # What was deleted since the search is no longer in the catalogue.
        there = [name for name in names if name in local]
        seen = verify(own, [local[name] for name in there], settings)
        evidence = dict(zip(there, seen, strict=True))
        reranked.append(Reranked(rescored_neighbours(near, evidence, weight), stored, evidence))
    return reranked


def rescored(hits: Sequence[Hit], evidence: Mapping[str, Evidence], weight: float) -> list[Hit]:
    """Hits with what the evidence adds to their scores, best first.

    The photos without evidence are those that scored less than all others, and nothing is taken
    away from any score: they stay behind.

    Args:
        hits: best first.
        evidence: by id, of the first of them.
        weight: of the bundle, by what the query has.
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


def rescored_neighbours(near: Found, evidence: Mapping[str, Evidence], weight: float) -> Found:
    """What lies nearest, with what the evidence adds (see `rescored`)."""
    photos = rescored(near.photos, evidence, weight)
    # Of the others there may be better photos than those that were found.
    sure = {hit.product for hit in near.products}
    return Found([hit for hit in best_per_product(photos) if hit.product in sure], photos)
