import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unbundle.base.errors import UserError
from unbundle.index.columns import Column
from unbundle.index.filters import Range, compile_filters, literal
from unbundle.index.gallery_collection import Gallery, Item
from unbundle.index.milvus_database import Database

COLUMNS = (Column("brand", "brand", False), Column("价格", "column_1", True))

NASTY = [
    'x" or id != "',
    "x' or id != '",
    "zz'] or id not in ['zz",
    '"] or id not in ["zz',
    "\\",
    '\\"',
    "\\\\",
    "%",
    "_",
    "{brand}",
    "",
    " ",
    "null",
    "true",
    "面霜 🧴",
    "\u2028",
    "\u202e",
    "1",
    "brand",
    "' --",
    "a&&b||c",
    "\\u0041",
    "\\n",
]


PRICED = len(NASTY) - 1


@pytest.mark.parametrize(
    ("filters", "expression"),
    [
        (None, ""),
        ({}, ""),
        ({"brand": "AHC"}, 'brand == "AHC"'),
        ({"brand": ["A", 'B"']}, 'brand in ["A","B\\""]'),
        ({"brand": 7}, 'brand == "7"'),
        ({"价格": 10}, "column_1 == 10.0"),
        ({"价格": "10.5"}, "column_1 == 10.5"),
        ({"价格": {"min": 1}}, "column_1 >= 1.0"),
        ({"价格": Range(min=1, max=2.5)}, "column_1 >= 1.0 and column_1 <= 2.5"),
        ({"价格": {"min": -1e308}}, "column_1 > -1e+300"),
        ({"价格": {"max": 2.5}}, "column_1 > -1e+300 and column_1 <= 2.5"),
        ({"brand": "A", "label": "jar"}, 'brand == "A" and label == "jar"'),
    ],
)
def test_conditions_compile_to_one_expression(filters: Any, expression: str) -> None:
    assert compile_filters(filters, COLUMNS) == expression


@pytest.mark.parametrize(
    ("filters", "line"),
    [
        ({"colour": "red"}, r"'colour': no such column; .* id, label, caption, image, brand, 价格"),
        ({"brand": {"min": 1}}, "'brand': the column is text"),
        ({"价格": "cheap"}, "'价格': the column is numeric"),
        ({"价格": math.nan}, "not finite"),
        ({"价格": {"min": math.inf}}, "'价格': expected"),
        ({"价格": {}}, "'价格': expected a value, a list of values, or min and max"),
        ({"价格": {"low": 1}}, "'价格': expected"),
        ({"brand": []}, "'brand': expected"),
        ({"brand": None}, "'brand': expected"),
        ({"brand": True}, "'brand': expected"),
        ({"brand": ["a"] * 1001}, "'brand': expected"),
        ({"brand": "a\nb"}, "a control character"),
        ({"brand": "\ud800"}, "a control character"),
        ({"brand": "x" * 5000}, "more than 4096 bytes"),
        ({"价格": 10**400}, "the column is numeric"),
    ],
)
def test_a_condition_that_does_not_fit_is_refused(filters: Any, line: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        compile_filters(filters, COLUMNS)
    assert "\n" not in str(caught.value)


@given(st.text(), st.text())
def test_texts_are_quoted_apart(first: str, second: str) -> None:
    try:
        quoted = literal(first), literal(second)
    except ValueError:
        return
    assert (quoted[0] == quoted[1]) == (first == second)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """One row per nasty text, as its brand; the last one's price is not there."""
    folder = tmp_path_factory.mktemp("filters") / "milvus.db"
    with Database(str(folder), create=True) as database:
        gallery = database.create_gallery("products_0123456789ab", 4, COLUMNS, {"bundle": "b"})
        items = [
            Item(f"r{n}", text, "", "", {"brand": text, "价格": str(n) if n < PRICED else ""})
            for n, text in enumerate(NASTY)
        ]
        gallery.upsert(items, np.tile(np.float32([[1, 0, 0, 0]]), (len(items), 1)))
        yield gallery


def found(shop: Gallery, filters: dict[str, Any]) -> set[str]:
    (hits,) = shop.search(np.float32([[1, 0, 0, 0]]), 1000, filters)
    return {hit.id for hit in hits}


@pytest.mark.parametrize("text", NASTY)
def test_a_nasty_text_finds_its_row_and_no_other(shop: Gallery, text: str) -> None:
    row = {f"r{NASTY.index(text)}"}
    assert found(shop, {"brand": text}) == row
    assert found(shop, {"brand": [text], "label": [text, text]}) == row


# The gallery is only read, so one serves all examples.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text() | st.sampled_from(NASTY), min_size=1, max_size=4))
def test_milvus_finds_what_python_finds(shop: Gallery, texts: list[str]) -> None:
    try:
        rows = found(shop, {"brand": texts})
    except UserError:
        assert any(not text.isprintable() for text in texts)
        return
    assert rows == {f"r{n}" for n, text in enumerate(NASTY) if text in texts}


VALUES = st.text() | st.sampled_from(NASTY) | st.integers() | st.floats() | st.booleans()
CONDITIONS = st.recursive(
    VALUES | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["min", "max", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["brand", "价格", "id", "label", "column_1", "vector"]) | st.text()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, CONDITIONS, max_size=3))
def test_whatever_a_caller_gives_reads_what_it_says_or_is_refused(
    shop: Gallery, filters: dict[str, Any]
) -> None:
    try:
        rows = found(shop, filters)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert rows == {
        f"r{n}"
        for n, text in enumerate(NASTY)
        if all(
            holds({"id": f"r{n}", "label": text, "brand": text, "价格": price(n)}[name], condition)
            for name, condition in filters.items()
        )
    }


def price(n: int) -> float | None:
    return float(n) if n < PRICED else None


def holds(cell: str | float | None, condition: Any) -> bool:
    if cell is None:
        return False
    if isinstance(condition, dict):
        low, high = condition.get("min"), condition.get("max")
        return (
            float("-inf" if low is None else low)
            <= float(cell)
            <= float("inf" if high is None else high)
        )
    values = condition if isinstance(condition, list) else [condition]
    return cell in [type(cell)(value) for value in values]


@settings(deadline=None)
@given(st.floats(), st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_bounds_find_what_python_finds(shop: Gallery, low: float, high: float) -> None:
    if not math.isfinite(low):
        with pytest.raises(UserError):
            found(shop, {"价格": {"min": low}})
        return
    expected = {f"r{n}" for n in range(PRICED) if low <= n <= high}
    assert found(shop, {"价格": {"min": low, "max": high}}) == expected
    below = {f"r{n}" for n in range(PRICED) if n <= high}
    assert found(shop, {"价格": {"max": high}}) == below


def test_nothing_was_deleted_by_all_this(shop: Gallery) -> None:
    assert shop.count() == len(NASTY)
