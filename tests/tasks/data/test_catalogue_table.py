import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.catalogue_table import COLUMNS, parse_boxes, parse_labels, read_rows
from unbundle.base.errors import UserError

HEADER = "id,image,caption,labels,split\n"
FIELDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LABELS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="#"), min_size=1)
CARRIED = st.lists(st.sampled_from(["price", "brand", "品牌", "net weight"]), unique=True)
SIDES = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "catalogue.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@given(data=st.data(), carried=CARRIED)
def test_what_csv_writes_is_read_back(
    folder: Path, data: st.DataObject, carried: list[str]
) -> None:
    header = data.draw(st.permutations([*COLUMNS, *carried]))
    row = st.lists(FIELDS, min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    frame = read_rows(write(folder, text.getvalue()))
    assert [*frame.columns] == [*COLUMNS, *(name for name in header if name in carried)]
    assert frame[header].to_numpy().tolist() == rows


def test_rows_are_named_by_the_line_they_start_on(folder: Path) -> None:
    table = read_rows(write(folder, HEADER + 'a,a.jpg,"two\nlines",,train\nb,b.jpg,,,train\n'))
    assert [*table.index] == [2, 4]


def test_kind_and_boxes_may_be_absent(folder: Path) -> None:
    table = read_rows(write(folder, HEADER + "a,a.jpg,,,train\n"))
    assert [*table.columns] == [*COLUMNS]
    assert table.loc[2, "kind"] == "" == table.loc[2, "boxes"]


def test_a_spreadsheets_byte_order_mark_and_line_ends_are_read(folder: Path) -> None:
    table = read_rows(write(folder, "\ufeff" + HEADER.strip() + "\r\na,a.jpg,面霜,,train\r\n\r\n"))
    assert table["caption"].tolist() == ["面霜"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: column 'id' is missing"),
        ("id,image,caption,split\n", "1: column 'labels' is missing"),
        (HEADER, " no rows below the header"),
        (HEADER.strip() + ",price,price\n", "1: column 'price' is there twice"),
        (HEADER.strip() + ",price,Price \n", "1: column 'Price ' is there twice"),
        (HEADER.strip() + ",Kind\n", "1: column 'Kind' must be spelt 'kind'"),
        (HEADER.strip() + ",\n", "1: a column has no name"),
        (HEADER.strip() + ",width\n", "1: column 'width' is reserved"),
        (HEADER + "a,a.jpg,,,train\nb,b.jpg,cream, 50 ml,,train\n", "3: expected 5 fields"),
        (HEADER + "a,a.jpg\n", "2: expected 5 fields as in the header, found 2"),
        (HEADER + 'a,a.jpg,"cream,,train\n', "2: not CSV"),
        (HEADER + 'a,a.jpg,"cream" 50 ml,,train\n', "2: not CSV"),
        (HEADER.encode() + b"a,a.jpg,\xc3\xa9,,train\nb,b.jpg,\xe9,,train\n", "3: not UTF-8"),
    ],
)
def test_a_broken_table_is_refused_by_its_line(folder: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_rows(write(folder, text))
    assert str(caught.value).startswith(f"{folder}/catalogue.csv:{said}")
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/catalogue\.csv: no such file"):
        read_rows(folder / "nowhere/catalogue.csv")


@given(st.lists(LABELS))
def test_labels_are_read_back_repeats_and_all(labels: list[str]) -> None:
    assert parse_labels("#;#".join(labels)) == labels


@given(st.lists(st.lists(SIDES, min_size=4, max_size=4)))
def test_boxes_are_read_back_in_whole_pixels(boxes: list[list[float]]) -> None:
    assert parse_boxes(json.dumps(boxes)) == [[round(side) for side in box] for box in boxes]


def test_absent_boxes_are_none() -> None:
    assert parse_boxes("") is None


@given(FIELDS.filter(bool))
def test_any_text_is_boxes_or_is_refused(text: str) -> None:
    try:
        boxes = parse_boxes(text)
    except ValueError as error:
        assert str(error).startswith("boxes are not")
    else:
        assert boxes == [[round(side) for side in box] for box in json.loads(text)]


@pytest.mark.parametrize(
    "text",
    ["[[0, 0, 1]]", "[[0, 0, 1, NaN]]", "[[0, 0, 1, true]]", '[[0, 0, 1, "1"]]', "{}", "[" * 10**5],
)
def test_boxes_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="boxes are not"):
        parse_boxes(text)
