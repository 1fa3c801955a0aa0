from typing import Any

import pandas as pd

from tasks.data.splits import is_fitted
from tasks.evaluation.slices import slices

GALLERY = {"a1": "a", "b1": "b", "b2": "b", "c1": "c", "c2": "c", "c3": "c", "d1": "d", "d2": "d"}


def queries(*rows: dict[str, Any]) -> pd.DataFrame:
    plain = {"labels": ["b"], "split": "test", "boxes": None, "width": 100, "height": 100}
    return pd.DataFrame([{"id": f"q{number}"} | plain | row for number, row in enumerate(rows)])


def members(found: dict[str, Any], name: str) -> list[int]:
    return list(found[name].nonzero()[0])


def test_queries_are_told_apart_by_the_number_of_products() -> None:
    rows = [{"labels": list("b" * count)} for count in (1, 2, 3, 4, 5)]
    found = slices(queries(*rows), GALLERY, None)
    assert [members(found, f"products={count}") for count in ("1", "2", "3", "4+")] == [
        [0],
        [1],
        [2],
        [3, 4],
    ]
    assert members(found, "repeated label") == [1, 2, 3, 4]


def test_rare_labels_have_the_lowest_quartile_of_gallery_sizes() -> None:
    # Sizes 1, 2, 2, 3: the first quartile is 1.75.
    found = slices(queries({"labels": ["b", "a"]}, {"labels": ["c"]}), GALLERY, None)
    assert members(found, "rare label") == [0]


def test_no_label_is_rare_where_most_are_of_one_size() -> None:
    gallery = {"a1": "a", "b1": "b", "c1": "c", "c2": "c"}
    found = slices(queries({"labels": ["a"]}, {"labels": ["c"]}), gallery, None)
    assert "rare label" not in found


def test_small_boxes_are_a_share_of_the_photo() -> None:
    rows = [
        {"boxes": [[0, 0, 90, 90], [0, 0, 20, 20]]},
        {"boxes": [[0, 0, 50, 50]]},
        {"boxes": None},
    ]
    assert members(slices(queries(*rows), GALLERY, None), "small box") == [0]


def test_carried_columns_with_few_values_make_slices() -> None:
    rows = [
        {"novel": str(number % 2 == 0), "price": str(number), "note": ""} for number in range(9)
    ]
    found = slices(queries(*rows), GALLERY, None)
    assert members(found, "novel=True") == [0, 2, 4, 6, 8]
    assert members(found, "novel=False") == [1, 3, 5, 7]
    assert not any(name.startswith(("price", "note")) for name in found)


def test_held_out_are_the_queries_that_no_weight_was_fitted_on() -> None:
    frame = queries(*({"split": "dev"} for _ in range(40)))
    found = slices(frame, GALLERY, "dev")
    expected = [row for row, name in enumerate(frame["id"]) if not is_fitted(name)]
    assert members(found, "held out") == expected
    assert 8 <= len(expected) <= 32
    assert "held out" not in slices(frame, GALLERY, None)
    assert "held out" not in slices(frame.assign(split="test"), GALLERY, "dev")


def test_slices_that_tell_nothing_apart_are_left_out() -> None:
    assert slices(queries({}, {}), GALLERY, None) == {}
