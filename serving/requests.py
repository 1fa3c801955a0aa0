"""What clients may ask: a query as JSON or as a form, read within the limits."""

import base64
from collections.abc import Awaitable, Callable
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
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message

from serving.filters import Condition
from serving.limits import USUAL_K, Limits
from serving.problems import Fault, Kind, ProblemError, invalid

JSON = "application/json"
FORM = "multipart/form-data"
_DOCUMENTS = ("boxes", "filters", "fields")  # JSON texts in a form

Body = TypeVar("Body", bound=BaseModel)


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


async def read_query(request: Request, limits: Limits) -> Callable[[], Query]:
    """Receive a query, as `read_body` does, and hold it to the limits."""
    read = await read_body(request, limits, Query)
    return lambda: _within(read(), limits)


async def read_body(request: Request, limits: Limits, model: type[Body]) -> Callable[[], Body]:
    """Receive a request's body, JSON or a form.

    Returns:
        What makes a `model` of it, for a worker: parsing a photo's base64 takes its time.

    Raises:
        ProblemError: too large, of another media type, or a form that cannot be read. What is
            returned raises it, too: invalid values.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    limited = Request(request.scope, _counted(request, limits.body_bytes))
    if media_type == JSON:
        body = await limited.body()
        return lambda: _checked(lambda: model.model_validate_json(body))
    if media_type == FORM:
        values = await _read_form(limited, limits, len(model.model_fields))
        return lambda: _checked(lambda: model.model_validate(_parsed(values)))
    await discard(limited)
    accepted = f"{JSON}, {FORM}"
    found = media_type[:80] or "none"
    raise ProblemError(
        Kind.MEDIA_TYPE, f"content type {found}: send {JSON} or {FORM}", {"Accept-Post": accepted}
    )


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
    try:
        form = await request.form(max_files=1, max_fields=fields, max_part_size=limits.body_bytes)
    except (ValueError, KeyError) as error:
        # Of a charset or a header that no one can decode.
        raise ProblemError(Kind.MALFORMED, f"the form: {type(error).__name__}") from error
    try:
        values: dict[str, Any] = {}
        for name, value in form.multi_items():
            if name in values:
                raise _fault(name, "given twice")
            if isinstance(value, UploadFile) != (name == "photo"):
                raise _fault(name, "send the photo as a file, and nothing else as one")
            values[name] = await value.read() if isinstance(value, UploadFile) else value
        # A browser sends an empty file where none was chosen.
        return {name: value for name, value in values.items() if value != b""}
    finally:
        await form.close()


def _parsed(values: dict[str, Any]) -> dict[str, Any]:
    parsed = dict(values)
    for name in _DOCUMENTS:
        if name in parsed:
            try:
                parsed[name] = pydantic_core.from_json(parsed[name])
            except ValueError as error:
                raise _fault(name, f"not JSON: {error}") from None
    return parsed


def _checked(read: Callable[[], Body]) -> Body:
    try:
        return read()
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(details) from None


def _within(query: Query, limits: Limits) -> Query:
    if "k" not in query.model_fields_set:
        query = query.model_copy(update={"k": min(query.k, limits.k)})
    for name, found, most in (
        ("k", query.k, limits.k),
        ("boxes", len(query.boxes or ()), limits.boxes),
        ("caption", len(query.caption), limits.caption),
    ):
        if found > most:
            raise over_limit(name, found, most)
    return query


def over_limit(field: str, found: int, most: int) -> ProblemError:
    """The problem of a value that is too long."""
    return _fault(field, f"{found:,} are too many; the limit is {most:,}")


def _fault(field: str, detail: str) -> ProblemError:
    fault = Fault(field=field[:80], detail=detail)
    return ProblemError(Kind.INVALID, f"{fault.field}: {detail}", errors=[fault])
