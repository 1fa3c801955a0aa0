"""The routes by which a shop changes single products, for those who have the service's key.

The key is UNBUNDLE_API_KEY of the environment; without one the service lets nobody change anything.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from unbundle.base.catalogue_cells import ID_LENGTH
from unbundle.base.request_limits import Limits
from unbundle.http.admission import Admission
from unbundle.http.error_responses import Kind, ProblemError
from unbundle.http.openapi import KEYED, problems
from unbundle.http.request_bodies import (
    FORM,
    JSON,
    Base64,
    encodable,
    fault_of,
    over_limit,
    read_body,
)
from unbundle.http.served_champion import LiveChampion
from unbundle.index.change_journal import Journal
from unbundle.index.columns import TEXT_BYTES, clip
from unbundle.index.filters import Value
from unbundle.index.gallery_collection import Gallery, Item
from unbundle.index.put_and_delete import ProductPut, delete, put
from unbundle.query.prices import PRICE
from unbundle.query.search import ProductSearch
from unbundle.vision.imaging import open_upload

KEY = "UNBUNDLE_API_KEY"

Identifier = Annotated[
    str,
    Path(
        description="Id of the product's photo.",
        # A letter or digit at least: `..` is another path to whoever passes it on.
        pattern=r"^[A-Za-z0-9_.:-]*[A-Za-z0-9][A-Za-z0-9_.:-]*$",
        max_length=ID_LENGTH,
    ),
]


def _storable(value: Any) -> Any:
    """A text that an index holds whole, or anything else, as it is."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a NUL character")
        if len(encodable(value).encode()) > TEXT_BYTES:
            raise ValueError(f"longer than {TEXT_BYTES} bytes; shorten it")
    return value


Text = Annotated[str, BeforeValidator(_storable)]
Cell = Annotated[Value | None, BeforeValidator(_storable)]


class Fresh(BaseModel):
    """A product to put into the index."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photo: Base64 = Field(description="A JPEG, PNG or WebP file that shows this product alone.")
    caption: Text = Field(default="", description="Its title.")
    label: Text = Field(default="", description="The product; photos of one label are one hit.")
    image: Text = Field(default="", description="Path relative to the catalogue's folder, if any.")
    fields: dict[Text, Cell] = Field(
        default={},
        description="Cells of the catalogue's own columns by name: all that the index has; "
        "null for a number that is not there.",
        examples=[{"price": 12.5, "brand": "AHC"}],
    )


def _body() -> dict[str, Any]:
    schema = Fresh.model_json_schema()
    form = schema["properties"] | {
        "photo": {"type": "string", "contentMediaType": "application/octet-stream"},
        "fields": {"type": "string", "description": "JSON, as in the other form."},
    }
    content = {
        JSON: {"schema": schema},
        FORM: {"schema": {"type": "object", "properties": form, "required": ["photo"]}},
    }
    return KEYED | {"requestBody": {"required": True, "content": content}}


def changes_on() -> bool:
    """Whether the service has a key, so that somebody may change products."""
    return bool(os.environ.get(KEY))


def add_changes(
    app: FastAPI, admission: Admission, live: LiveChampion, limits: Limits, journal: Journal
) -> None:
    """Serve `PUT` and `DELETE /products/{id}`."""
    key = os.environ.get(KEY, "")
    refused = problems(400, 401, 403, 408, 413, 415, 422, 507)

    @app.put(
        "/products/{identifier}",
        status_code=204,
        response_class=Response,
        openapi_extra=_body(),
        responses=refused,
    )
    async def put_product(request: Request, identifier: Identifier) -> Response:
        """Put a product into the index, in the place of the one of this id; twice is once.

        The next query finds it. It holds until the source catalogue changes its row of this id.
        """

        async def read(request: Request) -> Callable[[], None]:
            _check_key(request, key)
            fresh = await read_body(request, limits, Fresh)
            return lambda: _put(live, journal, limits, identifier, fresh())

        await admission.answer(request, read)
        return Response(status_code=204)

    @app.delete(
        "/products/{identifier}",
        status_code=204,
        response_class=Response,
        openapi_extra=KEYED,
        responses=problems(401, 403, 422, 507),
    )
    async def delete_product(request: Request, identifier: Identifier) -> Response:
        """Delete a product from the index; one that is not there is deleted already."""

        async def read(request: Request) -> Callable[[], None]:
            _check_key(request, key)
            return lambda: _delete(live, journal, identifier)

        await admission.answer(request, read)
        return Response(status_code=204)


def _check_key(request: Request, key: str) -> None:
    if not key:
        raise ProblemError(Kind.CHANGES_OFF, f"start it with a key in {KEY}")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # Digests are of one length, so that the time says nothing of the key's.
    same = hmac.compare_digest(*(_digest(text) for text in (given.strip(), key)))
    if scheme.lower() != "bearer" or not same:
        raise ProblemError(
            Kind.KEY_NEEDED,
            "send Authorization: Bearer, and the key",
            {"WWW-Authenticate": "Bearer", "Connection": "close"},
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _put(
    live: LiveChampion, journal: Journal, limits: Limits, identifier: str, fresh: Fresh
) -> None:
    if len(fresh.caption) > limits.caption:
        raise over_limit("caption", len(fresh.caption), limits.caption)
    photo = open_upload(fresh.photo, limits.pixels)
    cells = {name: _cell(value) for name, value in fresh.fields.items()}
    item = Item(identifier, fresh.label, fresh.caption, fresh.image, cells)
    product = ProductPut(item, fresh.photo, photo)

    def make(search: ProductSearch) -> None:
        _check_cells(cells, search.gallery)
        put(search.gallery, search.encoder, journal, "service", [product])

    _change(live, identifier, make)


def _delete(live: LiveChampion, journal: Journal, identifier: str) -> None:
    _change(
        live, identifier, lambda search: delete(search.gallery, journal, "service", [identifier])
    )


def _change(live: LiveChampion, identifier: str, make: Callable[[ProductSearch], None]) -> None:
    while True:
        with live.champion() as search:
            make(search)
            # A server answers usual reads from a moment ago; after this one from now on.
            search.gallery.traces([identifier])
            changed = search.gallery.name
        # A promotion reads the journal after it moved the alias. So either it saw this change, or
        # the alias had moved when this looks at it.
        if not live.overtaken(changed):
            return


def _check_cells(cells: Mapping[str, str], gallery: Gallery) -> None:
    columns = {column.name: column for column in gallery.columns}
    for name, cell in cells.items():
        if name not in columns:
            known = ", ".join(columns) or "none"
            raise fault_of(f"fields.{name}", f"no column of {gallery.name}; it has {known}")
        if name == PRICE and columns[name].numeric and cell.startswith("-"):
            raise fault_of(f"fields.{name}", f"{clip(cell, 80)}: expected a price of 0 or more")


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    # As a catalogue writes numbers: without an exponent.
    return value if isinstance(value, str) else format(Decimal(repr(value)), "f")
