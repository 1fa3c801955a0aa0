"""The catalogue format: `catalogue.csv` beside its images, read exactly or refused by line.

Required columns are `id, image, caption, labels, split`; `kind` and `boxes` may be absent; every
other column is carried through as text. Whether a row makes sense is `tasks.validate`'s matter:
here only a file that is no such table is refused.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from unbundle.base.errors import UserError

Row = dict[str, str]
"""Cells by column name."""

REQUIRED = ("id", "image", "caption", "labels", "split")
COLUMNS = (*REQUIRED, "kind", "boxes")
MEASURED = ("width", "height")
"""Columns that the manifest adds, so no catalogue may carry them."""

SPLITS = ("train", "gallery", "dev", "test")
QUERIES = ("dev", "test")
KINDS = ("single", "multi", "")
TABLE = "catalogue.csv"
LABEL_SEPARATOR = "#;#"


def read_rows(path: Path) -> pd.DataFrame:
    """Read a catalogue table.

    Returns:
        All columns as str, `COLUMNS` first, then the carried ones in file order; the index `line`
        is the line on which a row starts, so it names the row in messages.

    Raises:
        UserError: the file is missing, empty or not UTF-8; a required column is missing, a header
            empty, reserved or repeated (in whatever case); a row has too few or too many fields.
    """
    return frame_of(stream_rows(path))


def frame_of(rows: Iterable[tuple[int, Row]]) -> pd.DataFrame:
    """Rows, at least one, as `read_rows` returns them."""
    lines, cells = zip(*rows, strict=True)
    return pd.DataFrame(cells, index=pd.Index(lines, name="line"), dtype="str")


def stream_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the line and the cells by column of every row, as `read_rows` does, one by one.

    Raises:
        UserError: as `read_rows`, for each row when its turn comes.
    """
    reader = csv.reader(utf8_lines(path), strict=True)
    empty = True
    try:
        header = next(reader, [])
        _check_header(path, header)
        missing = dict.fromkeys(set(COLUMNS) - set(header), "")
        order = [*COLUMNS, *(column for column in header if column not in COLUMNS)]
        line = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                raise UserError(
                    f"{path}:{line}: expected {len(header)} fields as in the header, "
                    f"found {len(row)}; quote fields that hold commas"
                )
            if row:
                empty = False
                cells = dict(zip(header, row, strict=True)) | missing
                yield line, {column: cells[column] for column in order}
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not CSV ({error}); repair the line") from None
    if empty:
        raise UserError(f"{path}: no rows below the header; add products")


def utf8_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines with their ends; only a line feed ends a line.

    Shop titles hold U+2028 and its like, where `str.splitlines` would cut them.

    Raises:
        UserError: the file is missing or a line is not UTF-8; the message names the line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; correct the path")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                # Spreadsheets begin their UTF-8 with a byte order mark.
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise UserError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from None


def parse_labels(text: str) -> list[str]:
    """The labels of a row; none where the field is empty."""
    return text.split(LABEL_SEPARATOR) if text else []


def parse_boxes(text: str) -> list[list[int]] | None:
    """The boxes of a row, rounded to whole pixels; None where the field is empty.

    Raises:
        ValueError: the text is not JSON of the form `[[x0, y0, x1, y1], …]` with finite numbers.
    """
    if not text:
        return None
    try:
        boxes = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("boxes are not JSON") from None
    if not isinstance(boxes, list) or not all(map(_is_box, boxes)):
        raise ValueError("boxes are not [[x0, y0, x1, y1], …]")
    return [[round(side) for side in box] for box in boxes]


def _is_box(box: object) -> bool:
    # bool is an int to isinstance, and math.isfinite overflows on an int of 400 digits.
    def is_finite(side: object) -> bool:
        return type(side) is int or (type(side) is float and math.isfinite(side))

    return isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))


def _check_header(path: Path, header: list[str]) -> None:
    def refuse(message: str) -> UserError:
        return UserError(f"{path}:1: {message}")

    missing = [column for column in REQUIRED if column not in header]
    if missing:
        raise refuse(
            f"column {missing[0]!r} is missing; the header must name {', '.join(REQUIRED)}"
        )
    seen: set[str] = set()
    for column in header:
        # Great Expectations takes columns that differ only in case for one another.
        folded = column.strip().casefold()
        if not folded:
            raise refuse("a column has no name; name it or remove it")
        if folded in seen:
            raise refuse(f"column {column!r} is there twice; rename or remove one")
        if folded in COLUMNS and column != folded:
            raise refuse(f"column {column!r} must be spelt {folded!r}")
        if folded in MEASURED:
            raise refuse(f"column {column!r} is reserved for the photo's size; rename it")
        seen.add(folded)
