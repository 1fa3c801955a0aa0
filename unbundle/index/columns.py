"""The catalogue's own columns (price, brand …) as typed fields of an index.

A column of plain numbers, some of them perhaps blank, becomes a DOUBLE field, any other a VARCHAR
field. A column whose name a Milvus expression cannot hold (`品牌`, `unit price`, `in`) lives in a
field `column_<n>`; callers keep using its name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from unbundle.base.errors import UserError

TEXT_BYTES = 4096
"""Longest text of a field, in UTF-8 bytes: a Milvus server counts bytes, Milvus Lite characters."""

MOST_COLUMNS = 55
"""A server takes 64 fields, some of which are ours."""

FIXED_FIELDS = ("id", "label", "caption", "image")
"""Text fields that every index has beside `vector`."""

TRACES = ("digest", "source")
"""Text fields that tell what a row was made from, see `gallery.RowOrigin`; no hit has them."""

TRACE_LENGTH = 32
"""Characters of a trace."""

KEYPOINTS = "keypoints"
"""Text field with the product's keypoints, see `unbundle.vision.keypoints`; no hit has it."""

NO_NUMBER = -1e300
"""What a DOUBLE field holds for a blank cell, far below all numbers that a catalogue can write: a
server of 2.3 has no fields without a value."""

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_RESERVED = {
    *("id", "label", "caption", "image", "vector", "rowid", "timestamp", KEYPOINTS, *TRACES),
    *("true", "false", "null", "and", "or", "not", "in", "like", "is", "exists"),
    *("iso", "interval", "json_contains", "array_contains", "text_match", "phrase_match"),
}


@dataclass(frozen=True)
class Column:
    """One column of the catalogue in an index."""

    name: str
    field: str
    numeric: bool

    def cell(self, text: str) -> str | float:
        """The value that the index holds for a cell of the catalogue."""
        if not self.numeric:
            return clip(text)
        return float(text) if text else NO_NUMBER

    def value(self, stored: str | float) -> str | float | None:
        """What callers see of a value of the index; None for the blank cell of a numeric column."""
        return None if self.numeric and stored == NO_NUMBER else stored


def infer_columns(values: Mapping[str, Sequence[str]]) -> tuple[Column, ...]:
    """Type the carried columns, given all their cells by column name.

    Raises:
        UserError: more columns than a Milvus collection holds.
    """
    if len(values) > MOST_COLUMNS:
        raise UserError(
            f"catalogue.csv: {len(values)} columns beside the known ones, an index holds "
            f"{MOST_COLUMNS}; remove some"
        )
    return tuple(
        Column(name, _field(name, number), _numeric(cells))
        for number, (name, cells) in enumerate(values.items())
    )


def is_number(text: str) -> bool:
    """Whether a numeric column can hold a cell: a plain number, or nothing."""
    return not text or _NUMBER.fullmatch(text) is not None


def clip(text: str, limit: int = TEXT_BYTES) -> str:
    """Shorten `text` to at most `limit` bytes of UTF-8, between characters."""
    return text.encode()[:limit].decode(errors="ignore")


def dump_columns(columns: Sequence[Column]) -> str:
    """The columns as JSON text, for a property of the collection."""
    return json.dumps([asdict(column) for column in columns], ensure_ascii=False)


def load_columns(text: str) -> tuple[Column, ...]:
    """Undo `dump_columns`."""
    return tuple(Column(**column) for column in json.loads(text))


def _field(name: str, number: int) -> str:
    plain = _FIELD.fullmatch(name) and name.lower() not in _RESERVED
    # Two plain names never collide, and a plain name of the form column_<n> gives way.
    return name if plain and not re.fullmatch(r"column_\d+", name) else f"column_{number}"


def _numeric(cells: Sequence[str]) -> bool:
    # A leading zero is part of a code (EAN, article number): as a number it would be lost.
    return any(cells) and all(is_number(cell) for cell in cells)
