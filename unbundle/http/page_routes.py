"""The page at `/`, and what only it asks for: pictures of products, samples, columns."""

import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as Part

from unbundle.base.errors import UserError
from unbundle.base.request_limits import Limits
from unbundle.http.admission import Admission, at_once
from unbundle.http.error_responses import Kind, ProblemError
from unbundle.http.openapi import problems
from unbundle.http.served_champion import LiveChampion
from unbundle.http.thumbnails import find_photo, thumbnail
from unbundle.recording.query_log import Recording

MOST_SAMPLES = 12
SMALLEST, USUAL, LARGEST = 32, 320, 1024
"""Pixels, side of a thumbnail."""

_SAMPLES = (".jpg", ".jpeg", ".png", ".webp")
_SCRIPT = "text/javascript"

# Whatever a title or a catalogue's cell holds, nothing of it runs, and nothing leaves this host.
_POLICY = {
    "default-src": "'self'",
    "img-src": "'self' blob:",  # blob: the photo that was chosen, before it is sent
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
_SAFE = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ASK_AGAIN = {"Cache-Control": "no-cache"}  # a new version is seen at once; the same one is 304
_KEEP = {"Cache-Control": "max-age=3600"}

Side = Annotated[
    int, Query(ge=SMALLEST, le=LARGEST, description="Pixels of the picture's longer side at most.")
]
Identifier = Annotated[str, Part(description="Id of a photo of the catalogue.")]


@dataclass(frozen=True)
class Sample:
    """A photo to try the service with."""

    name: str
    """Of the file: `/samples/{name}` is the photo."""
    title: str
    """Empty where none is known."""


@dataclass(frozen=True)
class ColumnKind:
    """A catalogue column that queries may filter by."""

    name: str
    kind: Literal["number", "text"]


@dataclass(frozen=True)
class _Asset:
    content: bytes
    media_type: str
    tag: str


def read_samples(folder: Path) -> dict[str, Sample]:
    """The first photos of a folder, by name; a title is the text file of a photo's name.

    Raises:
        UserError: a title that is not UTF-8.
    """
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SAMPLES)
    samples = {}
    for photo in photos[:MOST_SAMPLES]:
        text = photo.with_suffix(".txt")
        try:
            title = text.read_text(encoding="utf-8").strip() if text.is_file() else ""
        except UnicodeDecodeError:
            raise UserError(f"{text}: not UTF-8; save the title as UTF-8") from None
        samples[photo.name] = Sample(photo.name, title)
    return samples


def kept(recording: Recording | None) -> str:
    """What the page says of what becomes of a photo and a title."""
    here = "Photos and titles go to this service only"
    if recording is None:
        return f"{here}, and are not kept."
    days = f"for {recording.max_days:g} days at most"
    if recording.content:
        return f"{here}, which keeps them and what it found {days}."
    return f"{here}, and are not kept; their measures and what it found are, {days}."


def add_page(app: FastAPI, recording: Recording | None) -> None:
    """Serve the page at `/` and its parts below `/page/`.

    Args:
        app: the application.
        recording: what is kept of queries, which the page tells; None keeps nothing.
    """
    folder = files("unbundle.http") / "page"
    contents = {part.name: part.read_bytes() for part in folder.iterdir()}
    contents["index.html"] = contents["index.html"].replace(b"{kept}", kept(recording).encode())
    assets = {name: _asset(name, content) for name, content in contents.items()}

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return _asset_response(request, assets["index.html"])

    @app.api_route("/page/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def part(request: Request, name: str) -> Response:
        if name not in assets:
            raise ProblemError(Kind.NOT_FOUND, "the page has no such part")
        return _asset_response(request, assets[name])


def add_pictures(
    app: FastAPI,
    live: LiveChampion,
    admission: Admission,
    limits: Limits,
    images: Path | None,
    samples: Path | None,
    roots: Sequence[Path],
) -> None:
    """Serve `/products/{id}/image`, `/samples` and `/columns`.

    Args:
        app: the application.
        live: the champion.
        admission: answers them; not the queries' one, which pictures must not keep waiting.
        limits: of a photo's pixels.
        images: the catalogue's folder; without it there are no pictures.
        samples: a folder of photos and titles; without it there are no samples.
        roots: further folders that links in the two may lead to.

    Raises:
        UserError: see `read_samples`.
    """
    found = read_samples(samples) if samples else {}

    @app.get("/products/{identifier}/image", response_class=Response, responses=problems(404, 422))
    async def image(request: Request, identifier: Identifier, side: Side = USUAL) -> Response:
        """The picture of a photo of the catalogue, a JPEG."""

        def work() -> Response:
            with live.champion() as search:
                stored = search.product(identifier).image
            return _picture(request, images, stored, side, limits, roots)

        return await admission.answer(request, at_once(work))

    @app.get("/samples")
    async def list_samples() -> list[Sample]:
        """Photos to try the service with."""
        return list(found.values())

    @app.get("/samples/{name}", response_class=Response, responses=problems(404, 422))
    async def sample(request: Request, name: str, side: Side | None = None) -> Response:
        """A sample's file, or with `side` a small JPEG of it."""
        if name not in found or samples is None:
            raise ProblemError(Kind.NOT_FOUND, "no such sample; see /samples")

        def work() -> Response:
            if side is not None:
                return _picture(request, samples, name, side, limits, roots)
            path = find_photo(samples, name, roots)
            if path is None:
                raise ProblemError(Kind.NOT_FOUND, "there is no picture of it")
            kind = mimetypes.guess_type(name)[0]
            return Response(path.read_bytes(), media_type=kind, headers=_ASK_AGAIN)

        return await admission.answer(request, at_once(work))

    @app.get("/columns", responses=problems())
    async def columns(request: Request) -> list[ColumnKind]:
        """The catalogue's own columns, which queries may filter by."""

        def work() -> list[ColumnKind]:
            with live.champion() as search:
                return [
                    ColumnKind(column.name, "number" if column.numeric else "text")
                    for column in search.gallery.columns
                ]

        return await admission.answer(request, at_once(work))


def _picture(
    request: Request,
    folder: Path | None,
    image: str,
    side: int,
    limits: Limits,
    roots: Sequence[Path],
) -> Response:
    path = find_photo(folder, image, roots) if folder else None
    if path is None:
        raise ProblemError(Kind.NOT_FOUND, "there is no picture of it")
    about = path.stat()
    tag = _tag(f"{path} {about.st_mtime_ns} {about.st_size} {side}".encode())
    if _has(request, tag):
        return _unchanged(tag, _KEEP)
    try:
        content = thumbnail(path, side, limits.pixels)
    except UserError:
        raise ProblemError(Kind.NOT_FOUND, "its picture cannot be read") from None
    return Response(content, media_type="image/jpeg", headers=_KEEP | {"ETag": tag})


def _asset(name: str, content: bytes) -> _Asset:
    # Systems differ in what they call a script.
    kind = _SCRIPT if name.endswith(".js") else mimetypes.guess_type(name)[0]
    return _Asset(content, kind or "application/octet-stream", _tag(content))


def _asset_response(request: Request, asset: _Asset) -> Response:
    headers = _SAFE | _ASK_AGAIN
    if _has(request, asset.tag):
        return _unchanged(asset.tag, headers)
    return Response(
        asset.content, media_type=asset.media_type, headers=headers | {"ETag": asset.tag}
    )


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def _has(request: Request, tag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    return tag in (each.strip().removeprefix("W/") for each in known.split(","))


def _unchanged(tag: str, headers: Mapping[str, str]) -> Response:
    return Response(status_code=304, headers={**headers, "ETag": tag})
