import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbundle.base.errors import UserError
from unbundle.index.columns import clip, dump_columns, infer_columns, load_columns


def test_a_column_of_plain_numbers_is_numeric() -> None:
    columns = infer_columns({"price": ["1", "2.50", "-0.1", ""], "brand": ["1", "AHC", "", "2"]})
    assert [column.numeric for column in columns] == [True, False]
    assert columns[0].cell("2.50") == 2.5
    assert columns[1].cell("AHC") == "AHC"


def test_a_blank_cell_is_a_number_that_is_not_there() -> None:
    price, empty = infer_columns({"price": ["1", ""], "empty": ["", ""]})
    assert price.value(price.cell("")) is None
    assert price.value(price.cell("0")) == 0
    assert (empty.numeric, empty.value(empty.cell(""))) == (False, "")


@pytest.mark.parametrize("cell", ["007", "1e5", "nan", "1,5", " 1", "1234567890123456", "١"])
def test_what_a_number_would_change_stays_text(cell: str) -> None:
    (column,) = infer_columns({"code": ["1", cell]})
    assert column.cell(cell) == cell


def test_names_that_no_expression_holds_get_a_field_of_their_own() -> None:
    names = ["brand", "品牌", "in", "unit price", "column_0", "Vector", "$meta", "x" * 64]
    columns = infer_columns({name: ["a"] for name in names})
    assert [column.name for column in columns] == names
    assert columns[0].field == "brand"
    assert [column.field for column in columns[1:]] == [f"column_{n}" for n in range(1, 8)]


def test_too_many_columns_are_refused() -> None:
    with pytest.raises(UserError, match="56 columns beside the known ones"):
        infer_columns({f"c{number}": ["1"] for number in range(56)})


@given(st.text(), st.integers(0, 40))
def test_clipping_keeps_a_prefix_of_at_most_so_many_bytes(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert text.startswith(clipped)
    assert len(clipped.encode()) <= limit
    assert len(clipped) == len(text) or len(text[: len(clipped) + 1].encode()) > limit


def test_columns_survive_their_property() -> None:
    columns = infer_columns({"价格": ["1"], "brand": ["AHC"]})
    assert load_columns(dump_columns(columns)) == columns
