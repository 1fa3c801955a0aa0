"""Errors as the service tells them: one JSON object per RFC 9457, for every status."""

import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from unbundle.base.errors import UnknownIdError, UserError
from unbundle.index.change_journal import JournalFullError
from unbundle.index.columns import clip
from unbundle.index.pymilvus_client import MilvusException

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger("unbundle.refused")
_LONGEST = 1000  # bytes of a detail, which may repeat what the caller sent
_MOST_FAULTS = 20


class Kind(Enum):
    """What can go wrong: the last part of the problem's `type`, its status and its title."""

    MALFORMED = ("malformed", 400, "The request cannot be read")
    KEY_NEEDED = ("key-needed", 401, "The request needs the service's key")
    CHANGES_OFF = ("changes-off", 403, "This service lets nobody change products")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    UPLOAD_TOO_SLOW = ("upload-too-slow", 408, "The request did not arrive in time")
    TOO_LARGE = ("too-large", 413, "The request is too large")
    MEDIA_TYPE = ("media-type", 415, "The request has another media type than can be read")
    WRONG_HOST = ("wrong-host", 421, "This service is not asked by that name")
    INVALID = ("invalid", 422, "The query cannot be answered as it is")
    INTERNAL = ("internal", 500, "The service failed")
    BUSY = ("busy", 503, "All workers are busy and the queue is full")
    NOT_READY = ("not-ready", 503, "No index is ready")
    INDEX_FAILED = ("index-failed", 503, "The index did not answer")
    JOURNAL_FULL = ("journal-full", 507, "There is no room to record changes")
    TOO_SLOW = ("too-slow", 504, "The answer took too long")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.type = f"urn:unbundle:problem:{slug}"
        self.status = status
        self.title = title


class Fault(BaseModel):
    """One wrong value of a request."""

    field: str = Field(examples=["boxes.0.2"])
    detail: str


class Problem(BaseModel):
    """A problem details object (RFC 9457)."""

    type: str = Field(examples=["urn:unbundle:problem:busy", "about:blank"])
    """Compare this; the texts may change."""
    title: str
    status: int
    detail: str = Field(default="", description="One line: what was found, and what to do.")
    errors: list[Fault] = Field(default=[], description="Every wrong value of an invalid query.")


class ProblemError(Exception):
    """Ends a request with a problem.

    Args:
        kind: what went wrong.
        detail: one line for the caller.
        headers: of the response.
        errors: the wrong values.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Fault] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.headers = dict(headers or {})
        self.problem = Problem(
            type=kind.type,
            title=kind.title,
            status=kind.status,
            detail=_shown(detail),
            errors=list(errors),
        )


def invalid(errors: Sequence[Any]) -> ProblemError:
    """The problem of pydantic's errors: a field and a reason each, never the caller's values."""
    faults = [
        Fault(field=_shown(".".join(str(part) for part in error["loc"])), detail=error["msg"])
        for error in errors[:_MOST_FAULTS]
    ]
    if any(error["type"] == "json_invalid" for error in errors):
        return ProblemError(Kind.MALFORMED, faults[0].detail)
    where = f"{faults[0].field}: " if faults[0].field else ""
    return ProblemError(Kind.INVALID, f"{where}{faults[0].detail}", errors=faults)


def refused(error: Exception) -> ProblemError:
    """The problem of a `UserError`."""
    kind = Kind.NOT_FOUND if isinstance(error, UnknownIdError) else Kind.INVALID
    return ProblemError(kind, str(error))


def tell_problems(app: FastAPI, retry_after: int) -> None:
    """Answer every error of an application with a problem.

    Args:
        app: the application.
        retry_after: seconds that clients are asked to wait where the index or the journal failed.
    """
    later = {"Retry-After": str(retry_after)}

    def own(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProblemError)
        return problem_response(error)

    def parameters(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return problem_response(invalid(error.errors()))

    def mistake(request: Request, error: Exception) -> JSONResponse:
        return problem_response(refused(error))

    def index(request: Request, error: Exception) -> JSONResponse:
        _log.error("Milvus: %s", error)
        detail = "Milvus failed or took too long; try again"
        return problem_response(ProblemError(Kind.INDEX_FAILED, detail, later))

    def full(request: Request, error: Exception) -> JSONResponse:
        _log.warning("changes are refused: %s", error)
        detail = "nothing was changed; searches go on"
        return problem_response(ProblemError(Kind.JOURNAL_FULL, detail, later))

    def internal(request: Request, error: Exception) -> JSONResponse:
        return problem_response(ProblemError(Kind.INTERNAL, "the service's log has the reason"))

    app.add_exception_handler(ProblemError, own)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(UserError, mistake)
    app.add_exception_handler(JournalFullError, full)
    app.add_exception_handler(MilvusException, index)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, internal)


def _plain(request: Request, error: Exception) -> JSONResponse:
    """The framework's own errors: no such path, no such method, a body it cannot parse."""
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = "" if error.detail == title else _shown(str(error.detail))
    problem = Problem(type="about:blank", title=title, status=error.status_code, detail=detail)
    return _json(problem, error.headers)


def problem_response(error: ProblemError) -> JSONResponse:
    """The response that tells a problem."""
    return _json(error.problem, error.headers)


def _json(problem: Problem, headers: Mapping[str, str] | None) -> JSONResponse:
    return JSONResponse(
        problem.model_dump(exclude_defaults=True),
        problem.status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def _shown(text: str) -> str:
    return clip(text.encode(errors="replace").decode(), _LONGEST)
