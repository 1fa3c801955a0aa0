import numpy as np
import pandas as pd
import pytest

from tasks.data.splits import labelled, product_of, products_of, rows_of, single_photos, spread


@pytest.fixture
def manifest() -> pd.DataFrame:
    rows = [
        ("g2", "gallery", ["b", "b"], "single"),
        ("t1", "train", [], ""),
        ("d1", "dev", ["a", "b"], "multi"),
        ("g1", "gallery", [], "single"),
        ("t2", "train", [], "multi"),
        ("d2", "dev", [], "multi"),
        ("q1", "test", ["b"], "multi"),
        ("t3", "train", [], "single"),
    ]
    return pd.DataFrame(rows, columns=["id", "split", "labels", "kind"])


def test_rows_keep_their_order_and_index(manifest: pd.DataFrame) -> None:
    assert rows_of(manifest, "gallery")["id"].tolist() == ["g2", "g1"]
    assert rows_of(manifest, "test", "dev").index.tolist() == [2, 5, 6]
    assert rows_of(manifest, "gallery", "train").columns.tolist() == manifest.columns.tolist()


def test_a_query_without_labels_is_not_labelled(manifest: pd.DataFrame) -> None:
    assert labelled(manifest, "dev")["id"].tolist() == ["d1"]
    assert labelled(manifest, "train").empty
    assert labelled(manifest[:0], "dev").empty


def test_a_photo_of_unknown_kind_may_show_one_product(manifest: pd.DataFrame) -> None:
    assert single_photos(manifest)["id"].tolist() == ["t1", "t3"]


def test_a_gallery_rows_product_is_its_first_label(manifest: pd.DataFrame) -> None:
    assert products_of(rows_of(manifest, "gallery")) == ["b", ""]
    assert product_of(["c", "a"]) == "c"


@pytest.mark.parametrize(
    ("total", "count", "places"),
    [(5, 3, [0, 2, 4]), (5, 9, [0, 1, 2, 3, 4]), (5, 1, [0]), (0, 3, []), (5, 0, [])],
)
def test_places_are_evenly_spread(total: int, count: int, places: list[int]) -> None:
    assert spread(total, count) == places


def test_places_are_numpys(manifest: pd.DataFrame) -> None:
    found = spread(1013, 64)
    assert found == np.linspace(0, 1012, 64).astype(int).tolist()
    assert manifest.iloc[spread(len(manifest), 3)]["id"].tolist() == ["g2", "g1", "t3"]
