"""The frozen feature on a catalogue's own axes."""

from pathlib import Path

import numpy as np
import pytest

from unbundle.encoding.hashed_tfidf import BUCKETS, HashedTfidf
from unbundle.encoding.untrained_parts import UntrainedParts, principal_axes
from unbundle.ranking.embedding_parts import unit

COUNT, CHANNELS = 400, 40


def features(seed: int) -> np.ndarray:
    """Light and place vary more than products do: five numbers, and one of 20 others."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((COUNT, CHANNELS), np.float32)
    rows[:, 30:35] = rng.normal(size=(COUNT, 5))
    rows[np.arange(COUNT), 1 + np.arange(COUNT) % 20] += 1
    return rows + 0.2 * rng.normal(size=rows.shape).astype(np.float32)


def untrained(axes: np.ndarray) -> UntrainedParts:
    return UntrainedParts(axes.astype(np.float32), HashedTfidf(np.ones(BUCKETS), 8))


def right(rows: np.ndarray) -> float:
    """How often the nearest other photo is of the same product."""
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    return float((cosines.argmax(axis=1) % 20 == np.arange(COUNT) % 20).mean())


def test_what_varies_most_no_longer_drowns_what_tells_products_apart() -> None:
    axes = principal_axes(features(0), 24)
    assert axes.shape == (CHANNELS, 24)
    assert axes.dtype == np.float16
    seen = features(1)
    parts = untrained(axes).seen(np.concatenate([seen, np.ones((COUNT, 3), np.float32)], axis=1))
    assert parts["raw"].shape == (COUNT, 24)
    assert parts["colour"].shape == (COUNT, 3)
    np.testing.assert_allclose(np.linalg.norm(parts["raw"], axis=1), 1, atol=1e-5)
    assert right(parts["raw"]) > right(unit(seen)) + 0.1


@pytest.mark.parametrize(
    "rows", [features(0)[:1], features(0)[:6], np.repeat(features(0)[:1], 9, 0)]
)
def test_few_photos_span_few_axes(rows: np.ndarray) -> None:
    axes = principal_axes(rows, 24)
    assert 1 <= axes.shape[1] <= len(np.unique(rows, axis=0))
    assert np.isfinite(axes).all()


def test_a_folder_gives_back_what_it_was_given(tmp_path: Path) -> None:
    parts = untrained(principal_axes(features(0), 24))
    parts.save(tmp_path)
    again = UntrainedParts.open(tmp_path, 8)
    np.testing.assert_array_equal(parts.axes, again.axes)
    np.testing.assert_array_equal(parts.tfidf.encode(["one two"]), again.tfidf.encode(["one two"]))
