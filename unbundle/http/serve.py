"""The command `unbundle serve`: options, a listening socket, and a stop that loses no query."""

import logging
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from unbundle.base.errors import UserError
from unbundle.base.rate_limited_logging import spare
from unbundle.base.request_limits import (
    MOST_BOXES,
    PILLOW_PIXELS,
    RECORD_BYTES,
    RECORD_DAYS,
    Limits,
)

IMAGES = Path("data/catalogue")
SAMPLES = Path("data/samples")

NOISY = ("python_multipart.multipart", "uvicorn.error", "unbundle.refused")
"""Loggers that warn at each request of a kind."""

# FastAPI and its friends are imported by the command: the others start without them.


def serve(
    host: Annotated[str, typer.Option(envvar="UNBUNDLE_HOST")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="UNBUNDLE_PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="UNBUNDLE_ALLOWED_HOST",
            help="A name that clients may ask by, beside localhost; may be repeated; * is any.",
        ),
    ] = None,
    bundle: Annotated[
        Path,
        typer.Option(
            envvar="UNBUNDLE_BUNDLE", help="A folder of bundles by version, or one bundle."
        ),
    ] = Path("data/bundles"),
    uri: Annotated[
        str | None,
        typer.Option(help="Milvus: a folder *.db or a URL. Else MILVUS_URI, else data/milvus.db."),
    ] = None,
    journal: Annotated[
        Path,
        typer.Option(envvar="UNBUNDLE_JOURNAL", help="Folder where changes are recorded."),
    ] = Path("data/journal"),
    images: Annotated[
        Path, typer.Option(envvar="UNBUNDLE_IMAGES", help="The catalogue's folder, for pictures.")
    ] = IMAGES,
    image_root: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="UNBUNDLE_IMAGE_ROOT",
            help="A folder that links in --images and --samples may lead to; may be repeated.",
        ),
    ] = None,
    samples: Annotated[
        Path,
        typer.Option(
            envvar="UNBUNDLE_SAMPLES", help="Photos to try on the page, each with a title in .txt."
        ),
    ] = SAMPLES,
    workers: Annotated[
        int, typer.Option(envvar="UNBUNDLE_WORKERS", min=1, help="Queries that run at once.")
    ] = Limits.workers,
    threads: Annotated[
        int,
        typer.Option(
            envvar="UNBUNDLE_THREADS", min=0, help="Of each network; 0 shares the cores out."
        ),
    ] = 0,
    queue: Annotated[
        int, typer.Option(envvar="UNBUNDLE_QUEUE", min=0, help="Further requests that may wait.")
    ] = Limits.queue,
    body_bytes: Annotated[
        int, typer.Option(envvar="UNBUNDLE_BODY_BYTES", min=1, help="Of one request.")
    ] = Limits.body_bytes,
    batch: Annotated[
        int, typer.Option(envvar="UNBUNDLE_BATCH", min=1, help="Queries of one batch.")
    ] = Limits.batch,
    pixels: Annotated[
        int, typer.Option(envvar="UNBUNDLE_PIXELS", min=1, max=PILLOW_PIXELS, help="Of one photo.")
    ] = Limits.pixels,
    boxes: Annotated[
        int, typer.Option(envvar="UNBUNDLE_BOXES", min=1, max=MOST_BOXES, help="Given by a caller.")
    ] = Limits.boxes,
    k: Annotated[
        int, typer.Option("-k", "--k", envvar="UNBUNDLE_K", min=1, help="Products per box.")
    ] = Limits.k,
    offset: Annotated[
        int,
        typer.Option(envvar="UNBUNDLE_OFFSET", min=0, help="Products skipped per box."),
    ] = Limits.offset,
    caption: Annotated[
        int, typer.Option(envvar="UNBUNDLE_CAPTION", min=1, help="Characters of a title.")
    ] = Limits.caption,
    seconds: Annotated[
        float, typer.Option(envvar="UNBUNDLE_SECONDS", min=0.01, help="For one request.")
    ] = Limits.seconds,
    retry_after: Annotated[
        int,
        typer.Option(
            envvar="UNBUNDLE_RETRY_AFTER", min=1, help="Seconds that a refused client waits."
        ),
    ] = Limits.retry_after,
    poll: Annotated[
        float,
        typer.Option(
            envvar="UNBUNDLE_POLL", min=0.1, help="Seconds between two looks at the alias."
        ),
    ] = Limits.poll,
    record: Annotated[
        Path | None,
        typer.Option(envvar="UNBUNDLE_RECORD", help="A folder that queries are recorded in."),
    ] = None,
    record_content: Annotated[
        bool,
        typer.Option(
            "--record-content",
            envvar="UNBUNDLE_RECORD_CONTENT",
            help="Keep photos and titles, too.",
        ),
    ] = False,
    record_bytes: Annotated[
        int,
        typer.Option(envvar="UNBUNDLE_RECORD_BYTES", min=1, help="Of all records; oldest go."),
    ] = RECORD_BYTES,
    record_days: Annotated[
        float,
        typer.Option(envvar="UNBUNDLE_RECORD_DAYS", min=0, help="That a record is kept."),
    ] = RECORD_DAYS,
) -> None:
    """Answer queries over HTTP, and follow every promotion without a restart."""
    limits = Limits(
        body_bytes=body_bytes,
        batch=batch,
        pixels=pixels,
        boxes=boxes,
        k=k,
        offset=offset,
        caption=caption,
        seconds=seconds,
        workers=workers,
        queue=queue,
        retry_after=retry_after,
        poll=poll,
    )
    recording = None if record is None else (record, record_content, record_bytes, record_days)
    pictures = (_folder("--images", images, IMAGES), _folder("--samples", samples, SAMPLES))
    roots = [_root(folder) for folder in image_root or []]
    hosts = (allowed_host or [], host)
    _run(
        listen(host, port),
        hosts,
        bundle,
        uri,
        threads,
        limits,
        journal,
        recording,
        *pictures,
        roots,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 takes a free one.

    Raises:
        UserError: the port is taken, or the host is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on: 40 ms more for every answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise UserError(f"{host}:{port}: {reason}; give another --host or --port") from None
    return listener


def _folder(option: str, folder: Path, usual: Path) -> Path | None:
    if folder.is_dir():
        return folder
    if folder == usual:
        return None
    raise UserError(f"{option} {folder}: no such folder; give one, or leave the option out")


def _root(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    raise UserError(f"--image-root {folder}: no such folder; give one, or leave the option out")


def _run(
    listener: socket.socket,
    hosts: tuple[Sequence[str], str],
    bundle: Path,
    uri: str | None,
    threads: int,
    limits: Limits,
    journal: Path,
    recording: tuple[Path, bool, int, float] | None,
    images: Path | None,
    samples: Path | None,
    roots: Sequence[Path],
) -> None:
    import uvicorn

    from unbundle.http.app import create_app
    from unbundle.http.request_head import Hosts
    from unbundle.http.served_champion import LiveChampion
    from unbundle.index.change_journal import Journal
    from unbundle.recording.query_log import Recorder, Recording

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spare(*NOISY)
    share = threads or max(1, (os.cpu_count() or 1) // limits.workers)
    live = LiveChampion(bundle, uri, threads=share, poll=limits.poll)
    recorder = Recorder(Recording(*recording)) if recording else None
    config = uvicorn.Config(
        create_app(live, limits, Journal(journal), recorder, images, samples, Hosts(*hosts), roots),
        log_config=None,
        access_log=False,
        server_header=False,
        # A query that runs may take its time, and its answer some more.
        timeout_graceful_shutdown=round(limits.seconds) + 1,
    )
    host, port = listener.getsockname()[:2]
    typer.echo(f"unbundle listens on http://{f'[{host}]' if ':' in host else host}:{port}")
    # uvicorn stops gracefully, then raises the signal again for whoever handled it before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
