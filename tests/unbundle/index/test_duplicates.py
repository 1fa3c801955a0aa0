from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tasks.base.workspace import Workspace
from unbundle import ProductSearch, UserError
from unbundle.index.duplicates import duplicates
from unbundle.index.gallery_collection import MOST_HITS, Gallery, Item
from unbundle.index.milvus_database import Database
from unbundle.ranking.embedding_parts import unit

DIMENSION = 8


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """1,100 photos of 300 products around 400 looks, 60 of them one and the same photo."""
    random = np.random.default_rng(0)
    looks = random.normal(size=(400, DIMENSION))[random.integers(0, 400, 1100)]
    photos = unit((looks + 0.05 * random.normal(size=looks.shape)).astype(np.float32))
    photos[-60:] = photos[-1]
    labels = [f"p{number}" if number else "" for number in random.integers(0, 300, 1100)]
    items = [Item(f"i{row:04d}", label, "", "", {}) for row, label in enumerate(labels)]
    path = tmp_path_factory.mktemp("duplicates") / "milvus.db"
    with Database(str(path), create=True) as database:
        made = database.create_gallery("products_0123456789ab", DIMENSION, (), {"bundle": "b"})
        made.upsert(items, photos)
        yield made


@pytest.mark.parametrize("threshold", [0.985, 1])
def test_every_pair_comes_once(gallery: Gallery, threshold: float) -> None:
    found = list(duplicates(gallery, threshold))
    rows = gallery.rows
    products = np.asarray([hit.product for hit in rows.hits])
    scores = np.triu(rows.vectors @ rows.vectors.T, 1)
    scores[products[:, None] == products] = 0
    pairs = {(pair.first.id, pair.second.id): pair.score for pair in found}
    assert len(pairs) == len(found)
    for margin in (1e-5, -1e-5):  # a pair just at the threshold may be either
        near = {
            (rows.hits[first].id, rows.hits[second].id)
            for first, second in np.argwhere(scores >= threshold + margin)
        }
        assert near <= pairs.keys() if margin > 0 else pairs.keys() <= near
    assert len(found) > 1500  # of the one photo alone
    assert all(pair.first.product != pair.second.product for pair in found)


def test_memory_does_not_grow_with_the_catalogue(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    one = gallery.search

    def counting(vectors: np.ndarray, k: int) -> Any:
        calls.append(len(vectors) * k)
        return one(vectors, k)

    monkeypatch.setattr(gallery, "search", counting)
    pairs = duplicates(gallery, 0.97)
    next(pairs)
    early = len(calls)
    assert sum(1 for _ in pairs) > 1500
    assert early < len(calls) / 2  # pairs come while the catalogue is read
    assert max(calls) <= MOST_HITS


def test_a_served_gallery_without_duplicates_has_none(served: Workspace) -> None:
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as search:
        assert list(search.duplicates(1)) == []
        # The photos show other colours; what they share is their titles' words.
        assert all(pair.score >= 0.5 for pair in search.duplicates(0.5))


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_that_is_none_is_refused(gallery: Gallery, threshold: float) -> None:
    with pytest.raises(UserError, match=r"threshold .*: expected a number above 0, at most 1"):
        duplicates(gallery, threshold)
