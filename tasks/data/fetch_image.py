"""One attempt to fetch one image: resumed where the server can, and complete or not there.

A file appears under its final name only when the body had the length that was promised and its
bytes are an image. Until then it grows beside it as `<name>.part`; `<name>.part.json` keeps the
address and the entity tag, without which bytes of two versions could be joined (RFC 9110, sections
13.1.5 and 14.2).
"""

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

import requests
from PIL import Image

from tasks.base.params import Download
from unbundle.base.atomic import write_json

CHUNK = 16 * 1024
"""Bytes a read: what an interruption can lose."""

PASSING = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
"""Client errors that another attempt may not meet."""


class RefusedError(Exception):
    """This address will not give the image."""


class PassingError(Exception):
    """This attempt failed, another may not.

    Attributes:
        pause: seconds that the server asks to wait, or None.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


def transfer(session: requests.Session, url: str, target: Path, settings: Download) -> None:
    """Fetch an image into `target`, from where an earlier attempt stopped if possible.

    Raises:
        RefusedError: the address is no good: not HTTP, unknown to the server, not an image, or
            more than `settings.max_bytes`.
        PassingError: the server failed, stalled or cut the body short.
    """
    part = target.with_name(f"{target.name}.part")
    headers = {"Accept-Encoding": "identity", **_resume_headers(part, url)}
    try:
        with session.get(url, headers=headers, stream=True, timeout=settings.timeout_s) as response:
            _check_status(response, part)
            _receive(response, url, part, settings.max_bytes)
    except requests.exceptions.ChunkedEncodingError:  # shorter than its Content-Length, too
        raise PassingError("the body was cut short") from None
    except (requests.ConnectionError, requests.Timeout):
        raise PassingError(f"no connection, or no byte for {settings.timeout_s:g} s") from None
    except (requests.RequestException, ValueError) as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from None
    _check_image(part)
    part.replace(target)
    _discard(part)


def _check_status(response: requests.Response, part: Path) -> None:
    status = response.status_code
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        _discard(part)
    if status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PassingError(f"HTTP {status}", _retry_after(response))
    raise RefusedError(f"HTTP {status}")


def _receive(response: requests.Response, url: str, part: Path, max_bytes: int) -> None:
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        _check_continues(response, part)
    else:
        _discard(part)
        _remember(response, url, part)
    with part.open("ab") as file:
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            if file.tell() > max_bytes:
                _discard(part)
                raise RefusedError(f"more than {max_bytes:,} bytes")


def _check_continues(response: requests.Response, part: Path) -> None:
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not start or not part.is_file() or int(start[1]) != part.stat().st_size:
        _discard(part)
        raise PassingError("the server went on at another byte")


def _check_image(part: Path) -> None:
    try:
        with Image.open(part):
            pass
    except Exception:  # on strange bytes a decoder raises whatever it stumbles over
        _discard(part)
        raise RefusedError("not an image") from None


def _resume_headers(part: Path, url: str) -> dict[str, str]:
    try:
        known = json.loads(_note(part).read_text(encoding="utf-8"))
        size = part.stat().st_size
    except FileNotFoundError:
        return {}
    return {"Range": f"bytes={size}-", "If-Range": known["etag"]} if known["url"] == url else {}


def _remember(response: requests.Response, url: str, part: Path) -> None:
    etag = response.headers.get("ETag", "")
    # A weak tag does not promise the same bytes; decoded bytes cannot be counted on by the server.
    if etag.startswith('"') and "Content-Encoding" not in response.headers:
        write_json(_note(part), {"url": url, "etag": etag})


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):  # absent, no date, or a date without a zone
        return None
