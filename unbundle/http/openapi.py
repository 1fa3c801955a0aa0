"""What the framework cannot know for `/openapi.json`: the bodies of queries, and problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from unbundle.http.error_responses import MEDIA_TYPE, Problem
from unbundle.http.request_bodies import FORM, JSON, Query

_COMPONENT = "#/components/schemas/{model}"
_ALWAYS = (500, 503, 504)

_PHOTO = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mM8seUOAzbAxIADDE4JANcT"
    "Amh1/RQTAAAAAElFTkSuQmCC"
)
EXAMPLES: dict[str, dict[str, Any]] = {
    "title": {"caption": "silk serum + lipstick set", "k": 5},
    "photo": {"photo": _PHOTO, "caption": "silk serum", "boxes": [[0, 0, 8, 8]], "k": 3},
    "second page": {"caption": "silk serum", "k": 5, "offset": 5, "min_score": 0.2},
    "bundle": {"photo": _PHOTO, "bundle_price": 49.9},
}

_FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "photo": {"type": "string", "contentMediaType": "application/octet-stream"},
        "caption": {"type": "string"},
        "boxes": {"type": "string", "description": "JSON, as in the other form."},
        "filters": {"type": "string", "description": "JSON, as in the other form."},
        "k": {"type": "integer"},
        "bundle_price": {"type": "number"},
        "min_score": {"type": "number"},
        "offset": {"type": "integer"},
    },
}

SEARCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"$ref": _COMPONENT.format(model="Query")},
                "examples": {name: {"value": value} for name, value in EXAMPLES.items()},
            },
            FORM: {
                "schema": _FORM_SCHEMA,
                "example": {"caption": "silk serum", "boxes": "[[0, 0, 8, 8]]", "k": 5},
            },
        },
    }
}

BATCH_EXAMPLE: dict[str, Any] = {"queries": [EXAMPLES["title"], {"k": 0}, EXAMPLES["bundle"]]}
BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["queries"],
                    "properties": {
                        "queries": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"$ref": _COMPONENT.format(model="Query")},
                        }
                    },
                },
                "example": BATCH_EXAMPLE,
            }
        },
    }
}


KEYED: dict[str, Any] = {"security": [{"key": []}]}
"""A route that needs the service's key."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that answers errors with these statuses, and with the usual ones."""
    schema = {"$ref": _COMPONENT.format(model=Problem.__name__)}
    return {
        status: {"description": "Problem", "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, *_ALWAYS})
    }


def described(app: FastAPI) -> None:
    """Add the schemas that the bodies and `problems` refer to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            _, extra = models_json_schema(
                [(Query, "validation"), (Problem, "validation")], ref_template=_COMPONENT
            )
            schema["components"]["schemas"] |= extra["$defs"]
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
