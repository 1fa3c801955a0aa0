from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.calibration.keypoint_matches import StoredReranker, likeness
from tests.support import photos_with_local_features as printed_photos
from tests.support.photos_with_local_features import printed, turned
from unbundle.encoding.model_bundle import Bundle
from unbundle.index.gallery_collection import (
    Gallery,
    Hit,
    Item,
    Neighbours,
    Stored,
    best_per_product,
)
from unbundle.index.milvus_database import Database
from unbundle.query.rerank import expanded_neighbours, rerank, rescored
from unbundle.ranking.embedding_parts import join_parts, unit
from unbundle.vision.geometric_verification import NONE, Evidence, bonus
from unbundle.vision.keypoints import ROOTSIFT, Keypoints, keypoints

SETTINGS = printed_photos.SETTINGS.model_copy(update={"count": 120, "photos": 6})
BUNDLE: Any = SimpleNamespace(
    keypoints=SETTINGS,
    verification={"photo": 0.05},
    expansion={},
    embedding=SimpleNamespace(weights={"photo": {}}),
)
SISTERS = 8


def local(photo: np.ndarray) -> Keypoints:
    box = np.asarray([[0, 0, photo.shape[1], photo.shape[0]]], np.float32)
    (found,) = keypoints(photo, box, SETTINGS, np.eye(ROOTSIFT, dtype=np.float32))
    return found


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Products whose vectors are the same, each with local features of its own."""
    path = tmp_path_factory.mktemp("sisters") / "milvus.db"
    with Database(str(path), create=True) as database:
        made = database.create_gallery("products_0123456789ab", 4, (), {"bundle": "b"})
        items = [Item(f"s{number}", f"sister {number}", "", "") for number in range(SISTERS)]
        texts = [local(printed(number)).pack() for number in range(SISTERS)]
        made.insert(items, np.tile(np.float32([[1, 0, 0, 0]]), (SISTERS, 1)), texts)
        yield made


def asked(*photos: np.ndarray) -> Any:
    """What re-ranking reads of a query."""
    vectors = np.tile(np.float32([[1, 0, 0, 0]]), (len(photos), 1))
    keypoints = [local(photo) for photo in photos]
    return SimpleNamespace(modality="photo", vectors=vectors, keypoints=keypoints)


def found(gallery: Gallery, query: Any, photos: int = SETTINGS.photos) -> list[Neighbours]:
    return gallery.nearest(query.vectors, 2, photos)


def test_of_photos_that_lie_alike_the_one_with_the_same_print_comes_first(
    gallery: Gallery,
) -> None:
    query = asked(turned(printed(3), 20, 0.9), turned(printed(5), -15, 1.1))
    reranked = rerank(gallery, BUNDLE, query, found(gallery, query))
    assert [near.photos[0].label for near in reranked] == ["sister 3", "sister 5"]
    for near in reranked:
        first = near.products[0]
        assert first == near.photos[0]
        assert first.score == pytest.approx(
            1 + 0.05 * bonus(near.evidence[first.id].inliers), abs=1e-5
        )
        assert len(near.evidence) == SETTINGS.photos
        assert [hit.inliers for hit in near.photos[:6]] == [
            near.evidence[hit.id].inliers for hit in near.photos[:6]
        ]
        # What was not verified keeps its score and its place.
        assert [hit.id for hit in near.photos[-2:]] == ["s6", "s7"]


def test_a_photo_that_was_deleted_meanwhile_is_not_reranked(gallery: Gallery) -> None:
    query = asked(printed(2))
    (near,) = found(gallery, query)
    gone = Hit("gone", "gone", 1.0, "", "")
    reranked = rerank(gallery, BUNDLE, query, [Neighbours(near.products, [gone, *near.photos])])
    assert "gone" not in reranked[0].evidence
    assert reranked[0].photos[0].label == "sister 2"


def test_a_title_alone_reads_nothing_more(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = asked()
    near = found(gallery, asked(printed(1)))
    monkeypatch.setattr(gallery, "stored", lambda _: pytest.fail("read"))
    reranked = rerank(gallery, BUNDLE, query, near)
    assert reranked == near
    assert (near[0].stored, near[0].evidence) == ({}, {})


def test_instances_are_reranked_together_as_alone(gallery: Gallery) -> None:
    photos = [printed(1), printed(4), printed(6)]
    query = asked(*photos)
    together = rerank(gallery, BUNDLE, query, found(gallery, query))
    for photo, reranked in zip(photos, together, strict=True):
        one = asked(photo)
        (alone,) = rerank(gallery, BUNDLE, one, found(gallery, one))
        assert reranked.products == alone.products
        assert reranked.photos == alone.photos
        assert reranked.evidence == alone.evidence


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.sampled_from("abcd")), min_size=1, max_size=30),
    st.lists(st.integers(0, 60), min_size=8, max_size=8),
    st.integers(1, 12),
)
def test_a_shorter_list_is_the_beginning_of_a_longer_one(
    rows: list[tuple[float, str]], inliers: list[int], depth: int
) -> None:
    """Whatever the keypoints say, as long as as many photos are verified."""
    ordered = sorted(rows, key=lambda row: -row[0])
    hits = [
        Hit(f"h{place:02}", label, score, "", "") for place, (score, label) in enumerate(ordered)
    ]
    evidence = {
        hit.id: Evidence(count, 0, 0.0, None, None)
        for hit, count in zip(hits, inliers, strict=False)
    }
    whole = rescored(hits, evidence, 0.1)
    assert sorted(hit.id for hit in whole) == [hit.id for hit in hits]
    cut = hits[: max(depth, len(evidence))]
    assert rescored(cut, evidence, 0.1) == whole[: len(cut)]
    products = [hit.product for hit in best_per_product(whole)]
    shorter = [hit.product for hit in best_per_product(rescored(cut, evidence, 0.1))]
    assert products[: len(shorter)] == shorter


def test_what_is_like_a_verified_photo_rises_as_the_fit_computes_it(tiny_bundle: Path) -> None:
    embedding = Bundle.open(tiny_bundle).embedding
    weights, rng = embedding.weights["photo"], np.random.default_rng(2)
    parts = {
        part: unit(rng.normal(size=(6, size)).astype(np.float32))
        for part, size in zip(embedding.parts, embedding.dimensions, strict=True)
    }
    parts = {part: np.concatenate([rows, rows[:1]]) for part, rows in parts.items()}  # a twin
    vectors = join_parts(parts, embedding.parts)
    scores = np.linspace(0.9, 0.3, 7, dtype=np.float32)
    evidence = [replace(NONE, inliers=count) for count in (30, 2, 0, 12, 0, 0, 0)]
    hits = [Hit(str(row), str(row), float(score), "", "") for row, score in enumerate(scores)]
    near = Neighbours(
        hits,
        hits,
        {hit.id: Stored(vector, "") for hit, vector in zip(hits, vectors, strict=True)},
        {hit.id: one for hit, one in zip(hits, evidence, strict=True)},
    )
    served = expanded_neighbours(near, embedding, weights, 0.5)
    assert [hit.id for hit in served.photos].index("6") < 5
    assert served.products == served.photos
    stored = StoredReranker(
        lambda _, items: [evidence[item] for item in items],
        [9],
        0.0,
        7,
        likeness(parts, weights),
        0.5,
    )
    items, anew, _ = stored(0, np.arange(7), scores)
    assert [hit.id for hit in served.photos] == [str(item) for item in items]
    np.testing.assert_allclose([hit.score for hit in served.photos], anew, atol=1e-6)
    assert expanded_neighbours(near, embedding, weights, 0.0) is near
