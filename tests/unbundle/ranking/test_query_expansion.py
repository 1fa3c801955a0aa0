"""Photos that are like the best ones rise."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unbundle.ranking.embedding_parts import PARTS, TERMS, join_parts, unit
from unbundle.ranking.query_expansion import VERIFIED, expansion, photos_as_queries, sources

SCORES = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8)


def test_a_photo_like_the_best_passes_one_that_scored_a_little_more() -> None:
    scores = np.asarray([0.9, 0.5, 0.48], np.float32)
    similar = np.asarray([[1.0, 0.1, 0.8]], np.float32)
    anew = scores + 0.25 * expansion(scores[:1], similar)
    assert anew.argsort()[::-1].tolist() == [0, 2, 1]


def test_only_photos_on_which_the_product_was_found_again_are_asked() -> None:
    assert sources([3, VERIFIED, 0, 40, 50]) == [1, 3]
    assert sources([VERIFIED - 1, 0]) == []


@given(SCORES, st.integers(1, 5), st.integers(0, 99))
def test_nothing_falls(scores: list[float], photos: int, seed: int) -> None:
    rows = np.asarray(scores, np.float32)
    similar = np.random.default_rng(seed).uniform(-1, 1, (len(rows), photos))
    added = expansion(rows, similar.astype(np.float32))
    assert added.shape == (photos,)
    assert np.isfinite(added).all()
    assert (added >= 0).all()
    assert (added <= np.maximum(similar.max(axis=0), 0) + 1e-5).all()


def test_a_photo_asked_as_a_query_is_nearest_to_itself() -> None:
    rng = np.random.default_rng(0)
    parts = {part: unit(rng.normal(size=(6, 4)).astype(np.float32)) for part in PARTS}
    asked = photos_as_queries(parts, PARTS, dict.fromkeys(TERMS, 1.0))
    items = join_parts(parts, PARTS)
    assert (asked @ items.T).argmax(axis=1).tolist() == list(range(6))
