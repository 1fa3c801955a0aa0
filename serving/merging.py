"""One ranking of a query from the rankings of its instances."""

from collections.abc import Sequence


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
