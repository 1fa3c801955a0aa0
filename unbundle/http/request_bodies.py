"""What clients may ask: a query as JSON or as a form, read within the limits."""

import base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, TypeVar

import pydantic_core
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    WithJsonSchema,
)
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message

from unbundle.base.request_limits import USUAL_K, Limits
from unbundle.http.error_responses import Fault, Kind, ProblemError, invalid
from unbundle.http.json_text import json_fault, repeated_key
from unbundle.index.columns import clip
from unbundle.index.filters import Condition
from unbundle.query.search import Question
from unbundle.vision.imaging import UploadedPhoto

JSON = "application/json"
FORM = "multipart/form-data"
Model = TypeVar("Model", bound=BaseModel)
_DOCUMENTS = ("boxes", "filters", "fields")  # JSON texts in a form


def _decoded(value: Any) -> Any:
    return base64.b64decode("".join(value.split()), validate=True) if _is_text(value) else value


def encodable(value: Any) -> Any:
    """A text that is UTF-8, or anything else, as it is."""
    if _is_text(value):
        value.encode()  # a lone surrogate is a ValueError; the tokenizer would fail on it
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


Base64 = Annotated[
    bytes,
    BeforeValidator(_decoded),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
Corners = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class Query(BaseModel):
    """A photo, a title or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photo: Base64 | None = Field(default=None, description="A JPEG, PNG or WebP file.")
    caption: Annotated[str, BeforeValidator(encodable)] = Field(
        default="", description="The title; it may name only some of the products."
    )
    boxes: list[Corners] | None = Field(
        default=None,
        description="x0, y0, x1, y1 in pixels of the upright photo, instead of the detector's.",
    )
    filters: dict[str, Condition] = Field(
        default={},
        description="By catalogue column: a value, a list of values, or min and max (inclusive).",
    )
    k: int = Field(default=USUAL_K, ge=1, description="Products per box.")
    bundle_price: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="What the bundle costs, to be compared with its parts.",
    )
    min_score: float | None = Field(
        default=None, allow_inf_nan=False, description="Hits below it are left out."
    )
    offset: int = Field(
        default=0, ge=0, description="Products per box that come before the first hit."
    )


class Queries(BaseModel):
    """Several queries; each is checked on its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queries: list[Any] = Field(min_length=1, description="A `Query` each.")


async def read_question(request: Request, limits: Limits) -> Callable[[], Question]:
    """Receive a query, as `read_body` does, and hold it to the limits."""
    read = await read_body(request, limits, Query)
    return lambda: _question(read(), limits)


async def read_body(request: Request, limits: Limits, model: type[Model]) -> Callable[[], Model]:
    """Receive a request's body, JSON or a form.

    Returns:
        What makes a `model` of it, for a worker: parsing a photo's base64 takes its time.

    Raises:
        ProblemError: too large, of another media type, or a form that cannot be read. What is
            returned raises it, too: invalid values.
    """
    limited = _limited(request, limits)
    media_type = _media_type(request)
    if media_type == JSON:
        body = await limited.body()
        return lambda: _read_json(body, model)
    if media_type == FORM:
        values = await _read_form(limited, limits, len(model.model_fields))
        return lambda: _valid(lambda: model.model_validate(_parsed(values)))
    raise await _other_media_type(limited, JSON, FORM)


async def read_batch(
    request: Request, limits: Limits
) -> Callable[[], list[Question | ProblemError]]:
    """Receive a batch's body.

    Returns:
        What makes of it, for each query in order, the query or what is wrong with it.

    Raises:
        ProblemError: as `read_question`; what is returned raises it where there is no batch, or one
            of too many queries.
    """
    limited = _limited(request, limits)
    if _media_type(request) != JSON:
        raise await _other_media_type(limited, JSON)
    body = await limited.body()
    return lambda: _checked_batch(body, limits)


def _checked_batch(body: bytes, limits: Limits) -> list[Question | ProblemError]:
    queries = _read_json(body, Queries).queries
    _check_limit("queries", len(queries), limits.batch)
    checked: list[Question | ProblemError] = []
    for values in queries:
        try:
            checked.append(_question(_valid(partial(Query.model_validate, values)), limits))
        except ProblemError as problem:
            checked.append(problem)
    return checked


def _read_json(body: bytes, model: type[Model]) -> Model:
    if fault := json_fault(body):
        raise ProblemError(Kind.INVALID, fault)
    read = _valid(lambda: model.model_validate_json(body))
    _check_keys(body)
    return read


def _check_keys(document: bytes) -> None:
    name = repeated_key(document)
    if name is not None:
        raise fault_of(name, "given twice")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _limited(request: Request, limits: Limits) -> Request:
    return Request(request.scope, _counted(request, limits.body_bytes))


async def _other_media_type(request: Request, *accepted: str) -> ProblemError:
    await discard(request)
    found = _media_type(request)[:80] or "none"
    detail = f"content type {found}: send {' or '.join(accepted)}"
    return ProblemError(Kind.MEDIA_TYPE, detail, {"Accept-Post": ", ".join(accepted)})


async def discard(request: Request) -> None:
    """Read a body away: a client that still sends would not see the answer."""
    async for _ in request.stream():
        pass


def _counted(request: Request, most: int) -> Callable[[], Awaitable[Message]]:
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > most:
            if message.get("more_body"):
                await _discard_some(request, most)
            raise ProblemError(
                Kind.TOO_LARGE,
                f"more than {most:,} bytes; send a smaller photo",
                {"Connection": "close"},
            )
        return message

    return receive


async def _discard_some(request: Request, most: int) -> None:
    """As `discard`, of one that has no end only as much again as is allowed."""
    seen = 0
    while seen < most:
        message = await request.receive()
        seen += len(message.get("body", b""))
        if not message.get("more_body"):
            return


async def _read_form(request: Request, limits: Limits, fields: int) -> dict[str, Any]:
    # A client's choice of Python's codecs would be one of warnings and of decompression, too.
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() != "utf-8":
        await discard(request)
        raise ProblemError(Kind.MEDIA_TYPE, f"charset {clip(charset, 40)}: send UTF-8")
    try:
        form = await request.form(max_files=1, max_fields=fields, max_part_size=limits.body_bytes)
    except (ValueError, KeyError) as error:
        # Of a charset or a header that no one can decode.
        raise ProblemError(Kind.MALFORMED, f"the form: {type(error).__name__}") from error
    try:
        values: dict[str, Any] = {}
        for name, value in form.multi_items():
            if name in values:
                raise fault_of(name, "given twice")
            if isinstance(value, UploadFile) != (name == "photo"):
                raise fault_of(name, "send the photo as a file, and nothing else as one")
            values[name] = await value.read() if isinstance(value, UploadFile) else value
        # A browser sends an empty file where none was chosen.
        return {name: value for name, value in values.items() if value != b""}
    finally:
        await form.close()


def _parsed(values: dict[str, Any]) -> dict[str, Any]:
    parsed = dict(values)
    for name in _DOCUMENTS:
        if name in parsed:
            document = parsed[name].encode(errors="replace")
            if fault := json_fault(document):
                raise fault_of(name, fault)
            try:
                parsed[name] = pydantic_core.from_json(document)
            except ValueError as error:
                raise fault_of(name, f"not JSON: {error}") from None
            _check_keys(document)
    return parsed


def _question(query: Query, limits: Limits) -> Question:
    k = query.k if "k" in query.model_fields_set else min(query.k, limits.k)
    for name, found, most in (
        ("k", k, limits.k),
        ("offset", query.offset, limits.offset),
        ("boxes", len(query.boxes or ()), limits.boxes),
        ("caption", len(query.caption), limits.caption),
    ):
        _check_limit(name, found, most)
    return Question(
        None if query.photo is None else UploadedPhoto(query.photo, limits.pixels),
        query.caption,
        k,
        query.boxes,
        query.filters,
        query.bundle_price,
        query.min_score,
        query.offset,
    )


def _valid(read: Callable[[], Model]) -> Model:
    try:
        return read()
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(details) from None


def _check_limit(field: str, found: int, most: int) -> None:
    if found > most:
        raise over_limit(field, found, most)


def over_limit(field: str, found: int, most: int) -> ProblemError:
    """The problem of a value that is too long."""
    return fault_of(field, f"{found:,} are too many; the limit is {most:,}")


def fault_of(field: str, detail: str) -> ProblemError:
    """The problem of one wrong value."""
    fault = Fault(field=field[:80], detail=detail)
    return ProblemError(Kind.INVALID, f"{fault.field}: {detail}", errors=[fault])
