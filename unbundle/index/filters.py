"""Conditions on catalogue columns, typed by the caller, compiled into a Milvus expression here.

    {"brand": "AHC", "category": ["cream", "serum"], "price": {"min": 10, "max": 50}}

Every literal of every expression passes `literal`: Milvus has no bound parameters that both Lite
and a server take, and one unquoted value reads or deletes other rows.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from unbundle.base.errors import UserError
from unbundle.index.columns import FIXED_FIELDS, NO_NUMBER, TEXT_BYTES, Column, clip

MOST_VALUES = 1000
"""Values of one condition: a server parses long lists slowly."""

Value = StrictStr | StrictInt | StrictFloat


class Range(BaseModel):
    """Bounds of a numeric column, both inclusive, at least one given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


Condition = Value | Annotated[list[Value], Field(min_length=1, max_length=MOST_VALUES)] | Range
Filters = Mapping[str, str | float | Sequence[str | float] | Range | Mapping[str, str | float]]
"""Conditions by column name: a value, a list of values, or bounds (`Range` or its dict)."""

_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
# Control characters (Lite's parser refuses them) and lone surrogates (not UTF-8).
_UNQUOTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def literal(value: str | float) -> str:
    """Quote one value for a Milvus expression: the only way a value gets into one.

    Raises:
        ValueError: a text with control characters or beyond 4,096 bytes, or a number that is not
            finite.
    """
    if isinstance(value, str):
        if _UNQUOTABLE.search(value):
            raise ValueError("a control character")
        if len(value.encode()) > TEXT_BYTES:
            raise ValueError(f"more than {TEXT_BYTES} bytes")
        return json.dumps(value, ensure_ascii=False)
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return repr(float(value))


def compile_filters(filters: Filters | None, columns: Sequence[Column]) -> str:
    """Compile conditions, joined by `and`, into a Milvus expression ("" without conditions).

    Raises:
        UserError: an unknown column (the known ones are named), a condition of another form, a
            text for a numeric column, bounds for a text column.
    """
    known = {name: Column(name, name, numeric=False) for name in FIXED_FIELDS}
    known |= {column.name: column for column in columns}
    return " and ".join(
        _compile(_column(name, known), condition) for name, condition in (filters or {}).items()
    )


def _column(name: str, known: Mapping[str, Column]) -> Column:
    if name not in known:
        raise UserError(f"filter {name!r}: no such column; the index has {', '.join(known)}")
    return known[name]


def _compile(column: Column, raw: Any) -> str:
    try:
        condition = _CONDITION.validate_python(raw)
        match condition:
            case Range():
                return _bounds(column, condition)
            case list():
                values = ",".join(literal(_typed(column, value)) for value in condition)
                return f"{column.field} in [{values}]"
            case _:
                return f"{column.field} == {literal(_typed(column, condition))}"
    except ValidationError:
        problem = "expected a value, a list of values, or min and max"
    except ValueError as error:
        problem = str(error)
    raise UserError(f"filter {column.name!r}: {problem}; found {clip(repr(raw), 80)}")


def _bounds(column: Column, bounds: Range) -> str:
    if not column.numeric:
        raise ValueError("the column is text: give a value or a list of values")
    # Without a lower bound a blank cell would lie within.
    least = NO_NUMBER if bounds.min is None else max(bounds.min, NO_NUMBER)
    low = f"{column.field} {'>' if least == NO_NUMBER else '>='} {literal(least)}"
    return low if bounds.max is None else f"{low} and {column.field} <= {literal(bounds.max)}"


def _typed(column: Column, value: str | float) -> str | float:
    if not column.numeric:
        return str(value)
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError("the column is numeric: give numbers") from None
