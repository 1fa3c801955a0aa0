"""Rank fusion: one ranking of a query from the rankings of its instances."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

EVIDENCE = ("score", "gap", "rank")
"""What fusion weighs of an item that an instance found: its cosine, how far that lies below the
instance's best one, and the logarithm of its place (the first: 0)."""

CROWD = "crowd"
"""What an item loses for every item of the same instance that stands before it, in the unit of the
weighted evidence: a place in a short list tells more of an instance that has none yet (maximal
marginal relevance: Carbonell and Goldstein, SIGIR 1998)."""


def evidence(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns `EVIDENCE` `[K, 3]` of one instance's hits, of cosines `[K]`, best first."""
    places = np.log1p(np.arange(len(scores), dtype=np.float32))
    return np.stack([scores, scores[:1] - scores, places], axis=1)


def fuse(
    rankings: Sequence[Sequence[str]],
    scores: Sequence[NDArray[np.float32]],
    weights: Mapping[str, float],
    depth: int,
) -> list[str]:
    """Rank every found item by the largest weighted `EVIDENCE` that any instance gives it.

    So the first item of a box that found its product comes before the tenth item of any box, and
    items of a box that found nothing near come late; interleaving would give all boxes an equal
    share. `CROWD` lies between the two.

    Args:
        rankings: ids by instance, best first.
        scores: their cosines, `[K]` per instance.
        weights: by `EVIDENCE` and `CROWD`, `Bundle.fusion`.
        depth: ids in the result at most, none twice.
    """
    factors = np.asarray([weights[name] for name in EVIDENCE], np.float32)
    best: dict[str, tuple[float, int]] = {}
    for instance, (ids, cosines) in enumerate(zip(rankings, scores, strict=True)):
        for item, value in zip(ids, (evidence(cosines) @ factors).tolist(), strict=True):
            if item not in best or value > best[item][0]:
                best[item] = value, instance
    # By instance, best first, so that only their first ones compete.
    waiting: list[list[tuple[float, str]]] = [[] for _ in rankings]
    for item, (value, instance) in sorted(best.items(), key=lambda found: -found[1][0]):
        waiting[instance].append((value, item))
    merged: list[str] = []
    taken = [0] * len(rankings)
    while len(merged) < min(depth, len(best)):
        _, chosen = max(
            (own[taken[row]][0] - weights.get(CROWD, 0.0) * taken[row], -row)
            for row, own in enumerate(waiting)
            if taken[row] < len(own)
        )
        merged.append(waiting[-chosen][taken[-chosen]][1])
        taken[-chosen] += 1
    return merged


def interleave(rankings: Sequence[Sequence[str]], depth: int) -> list[str]:
    """Take the next unseen id of each ranking in turn, until `depth` ids are found.

    The rankings come best instance first. The result holds no id twice.
    """
    merged: dict[str, None] = {}
    cursors = [iter(ranking) for ranking in rankings]
    while cursors and len(merged) < depth:
        alive = []
        for cursor in cursors:
            fresh = next((item for item in cursor if item not in merged), None)
            if fresh is not None:
                alive.append(cursor)
                if len(merged) < depth:
                    merged[fresh] = None
        cursors = alive
    return list(merged)
