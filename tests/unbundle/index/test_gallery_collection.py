from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymilvus import MilvusClient

from unbundle.base.errors import UserError
from unbundle.index.columns import infer_columns
from unbundle.index.gallery_collection import Gallery, Hit, Item, best_per_product
from unbundle.index.milvus_database import Database
from unbundle.ranking.embedding_parts import unit

NAME = "products_0123456789ab"
DIMENSION = 6
COLUMNS = infer_columns({"price": ["1"], "brand": ["AHC"]})


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32))


def item(number: int, label: str | None = None) -> Item:
    cells = {"price": str(number), "brand": f"brand {number % 3}"}
    name = f"product {number // 4}" if label is None else label
    return Item(f"i{number:04d}", name, f"标题 {number}", f"images/{number}.jpg", cells)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(str(tmp_path / "milvus.db"), create=True) as opened:
        yield opened


@pytest.fixture
def empty(database: Database) -> Gallery:
    return database.create_gallery(NAME, DIMENSION, COLUMNS, {"bundle": "b0"})


@pytest.fixture
def gallery(empty: Gallery) -> Gallery:
    empty.upsert([item(number) for number in range(40)], vectors(40))
    return empty


def test_rows_come_back_as_they_went_in(gallery: Gallery) -> None:
    assert gallery.count() == 40
    (hits,) = gallery.search(vectors(40)[7:8], 1)
    assert hits == [
        Hit(
            "i0007",
            "product 1",
            pytest.approx(1, abs=1e-5),
            "标题 7",
            "images/7.jpg",
            {"price": 7.0, "brand": "brand 1"},
        )
    ]


def test_writing_again_replaces(gallery: Gallery) -> None:
    gallery.upsert([item(number, "other") for number in range(40)], vectors(40, seed=1))
    assert gallery.count() == 40
    (hits,) = gallery.search(vectors(40, seed=1)[:1], 40)
    assert hits[0].id == "i0000"
    assert {hit.label for hit in hits} == {"other"}


def test_search_is_exact_search_on_milvus_lite(gallery: Gallery) -> None:
    queries = vectors(130, seed=2)  # more than one call's worth
    exact = gallery.exact_search(queries, 9)
    found = gallery.search(queries, 9)
    assert [[hit.id for hit in hits] for hits in found] == [
        [hit.id for hit in hits] for hits in exact
    ]
    np.testing.assert_allclose(
        [[hit.score for hit in hits] for hits in found],
        [[hit.score for hit in hits] for hits in exact],
        atol=1e-5,
    )
    assert found[0][0].fields == exact[0][0].fields


def test_rows_are_read_whole_and_in_order(gallery: Gallery) -> None:
    assert gallery.rows.ids == [f"i{number:04d}" for number in range(40)]
    assert gallery.ids() == set(gallery.rows.ids)
    np.testing.assert_allclose(gallery.rows.vectors, vectors(40), atol=1e-6)


def test_one_product_with_many_near_photos_does_not_hide_the_others(empty: Gallery) -> None:
    near = unit(vectors(1) + 0.01 * vectors(300, seed=1))
    empty.upsert([item(number, "crowd") for number in range(300)], near)
    empty.upsert([item(900 + number, f"rare {number}") for number in range(12)], vectors(12, 2))
    (hits,) = empty.search_products(vectors(1), 10)
    assert hits[0].label == "crowd"
    assert len({hit.label for hit in hits}) == 10
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 15), st.integers(0, 100), st.sampled_from([None, {"brand": "brand 2"}]))
def test_products_are_the_best_photos_of_an_exact_search(
    gallery: Gallery, k: int, seed: int, filters: dict[str, str] | None
) -> None:
    query = vectors(3, seed)
    everything = gallery.exact_search(query, 40)
    expected = [
        [hit.id for hit in best_per_product([h for h in hits if passes(h, filters)])[:k]]
        for hits in everything
    ]
    found = gallery.search_products(query, k, filters)
    assert [[hit.id for hit in hits] for hits in found] == expected


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """1,500 photos: from 1 to hundreds per product, near each other, some of them the same photo
    under several products."""
    random = np.random.default_rng(7)
    sizes = np.minimum(random.zipf(1.5, 600), 300)
    owners = np.repeat(np.arange(600), sizes)[:1500]
    photos = unit((vectors(600, 1)[owners] + 0.2 * vectors(len(owners), 2)).astype(np.float32))
    same = random.choice(len(owners), 150, replace=False)
    photos[same] = photos[random.choice(same[:20], 150)]
    items = [
        Item(f"i{row:04d}", f"p{owner:03d}", "", "", {"price": "1", "brand": f"b{owner % 3}"})
        for row, owner in enumerate(random.permutation(owners))
    ]
    path = tmp_path_factory.mktemp("crowded") / "milvus.db"
    with Database(str(path), create=True) as database:
        made = database.create_gallery(NAME, DIMENSION, COLUMNS, {"bundle": "b0"})
        made.upsert(items, photos)
        yield made


@settings(max_examples=15)
@given(k=st.integers(1, 40), seed=st.integers(0, 10**6), brand=st.none() | st.just("b1"))
def test_grouping_loses_no_best_hit(crowded: Gallery, k: int, seed: int, brand: str | None) -> None:
    queries = np.concatenate([vectors(2, seed), crowded.rows.vectors[[seed % 1500]]])
    found = crowded.search_products(queries, k, {"brand": brand} if brand else None)
    hits, scores = crowded.rows.hits, queries @ crowded.rows.vectors.T
    for answer, row in zip(found, scores, strict=True):
        best: dict[str, float] = {}
        for hit, score in zip(hits, row, strict=True):
            if brand in (None, hit.fields["brand"]):
                best[hit.product] = max(best.get(hit.product, -2), float(score))
        assert len({hit.product for hit in answer}) == len(answer) == min(k, len(best))
        # By scores: two photos may be equally near.
        wanted = sorted(best.values(), reverse=True)[:k]
        np.testing.assert_allclose([hit.score for hit in answer], wanted, atol=1e-5)
        mine = [best[hit.product] for hit in answer]
        np.testing.assert_allclose([hit.score for hit in answer], mine, atol=1e-5)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 60))
def test_a_longer_list_begins_with_the_shorter_one(crowded: Gallery, seed: int, depth: int) -> None:
    # The query is a photo that many products have: the first places are a tie.
    shared = crowded.rows.vectors[[seed % 1500]]
    (longer,) = crowded.search_products(shared, depth + 13)
    (shorter,) = crowded.search_products(shared, depth)
    assert [hit.id for hit in shorter] == [hit.id for hit in longer[:depth]]


def test_a_tie_of_many_products_keeps_one_order(empty: Gallery) -> None:
    rows = [item(number, f"twin {number}") for number in range(200)]
    empty.upsert(rows[::-1], np.repeat(vectors(1), 200, axis=0))
    pages = [empty.search_products(vectors(1), end)[0][end - 10 :] for end in range(10, 201, 10)]
    assert [hit.id for page in pages for hit in page] == [row.id for row in rows]


def passes(hit: Hit, filters: dict[str, str] | None) -> bool:
    return all(hit.fields[name] == value for name, value in (filters or {}).items())


def test_photos_without_a_label_are_products_of_their_own(empty: Gallery) -> None:
    empty.upsert([item(number, "") for number in range(5)], vectors(5))
    (hits,) = empty.search_products(vectors(1), 10)
    assert sorted(hit.product for hit in hits) == [f"i{number:04d}" for number in range(5)]


@pytest.mark.parametrize("name", ["", "a b", "x'] or id not in ['x", "é", "x" * 65, "a\n"])
def test_an_id_that_could_be_code_is_refused(gallery: Gallery, name: str) -> None:
    with pytest.raises(UserError, match=r"catalogue\.csv: id .*: expected 1 to 64 letters"):
        gallery.upsert([Item(name, "", "", "", {"price": "1", "brand": ""})], vectors(1))
    assert gallery.count() == 40


def test_a_label_is_never_cut_and_a_title_is(gallery: Gallery) -> None:
    cells = {"price": "1", "brand": "霜" * 3000}
    with pytest.raises(UserError, match="id long: label longer than 4096 bytes"):
        gallery.upsert([Item("long", "霜" * 2000, "", "", cells)], vectors(1))
    gallery.upsert([Item("long", "l", "面" * 3000, "", cells)], vectors(1, seed=5))
    (hits,) = gallery.search(vectors(1, seed=5), 1)
    assert hits[0].caption == "面" * 1365
    assert hits[0].fields["brand"] == "霜" * 1365


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, DIMENSION), np.float32),
        np.full((1, DIMENSION), np.nan, np.float32),
        np.full((1, DIMENSION), np.inf, np.float32),
        np.ones((1, DIMENSION), np.float32),
        np.ones((1, DIMENSION + 1), np.float32),
        np.ones(DIMENSION, np.float32),
    ],
)
def test_vectors_that_milvus_lite_would_take_are_refused(
    gallery: Gallery, wrong: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="expected vectors"):
        gallery.upsert([item(1)], wrong)
    with pytest.raises(ValueError, match="expected vectors"):
        gallery.search(wrong, 1)


def test_evidence_is_kept_with_the_collection(database: Database, gallery: Gallery) -> None:
    gallery.annotate({"evaluation": '{"mAP": 0.5}'})
    again = database.gallery(NAME)
    assert again.properties["evaluation"] == '{"mAP": 0.5}'
    assert again.properties["bundle"] == "b0"
    assert again.columns == COLUMNS


def test_a_collection_of_another_make_is_refused(database: Database) -> None:
    database.client.create_collection("strange", dimension=4)
    with pytest.raises(UserError, match="collection strange is none of unbundle"):
        database.gallery("strange")


def test_any_milvus_client_searches_the_alias(database: Database, gallery: Gallery) -> None:
    database.promote(NAME)
    client = MilvusClient(database.uri)
    (hits,) = client.search(
        "products", [vectors(40)[3].tolist()], limit=2, output_fields=["label", "price"]
    )
    assert hits[0]["id"] == "i0003"
    assert hits[0]["entity"] == {"label": "product 0", "price": 3.0}
    client.close()


def test_a_row_is_found_by_its_id_alone(gallery: Gallery) -> None:
    rows = gallery.rows
    for hit, vector in zip(rows.hits[:3], rows.vectors, strict=False):
        found = gallery.find(hit.id)
        assert found is not None
        assert found[0] == hit
        assert np.allclose(found[1], vector)
    for crafted in ("nothing", "", '" or id != "', f'{rows.ids[0]}" or id != "', "a" * 65):
        assert gallery.find(crafted) is None


def test_what_is_stored_is_read_by_id_and_missing_ids_left_out(gallery: Gallery) -> None:
    gallery.upsert([item(7)], vectors(40)[7:8], ["AAAA"])
    found = gallery.stored(["i0007", "nothing", "i0000"])
    assert {name: one.keypoints for name, one in found.items()} == {"i0000": "", "i0007": "AAAA"}
    np.testing.assert_allclose(found["i0007"].vector, vectors(40)[7], atol=1e-6)
    assert gallery.stored([]) == {}
    rows = dict(zip(gallery.rows.ids, gallery.rows.keypoints, strict=True))
    assert (rows["i0007"], rows["i0001"]) == ("AAAA", "")


def test_the_nearest_photos_come_with_the_products(crowded: Gallery) -> None:
    """However few products are asked for."""
    queries = vectors(3, 9)
    exact = crowded.exact_search(queries, 20)
    for near, hits in zip(crowded.nearest(queries, 1, 20), exact, strict=True):
        assert near.products[0] == near.photos[0]
        scores = [hit.score for hit in near.photos[:20]]
        np.testing.assert_allclose(scores, [hit.score for hit in hits], atol=1e-5)
