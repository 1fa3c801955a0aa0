"""A served world: a gallery of six products in Milvus Lite, promoted, and its bundle."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from tasks.base.workspace import Workspace
from tasks.index.ingestion_receipt import Receipt
from tasks.ingest import ingest
from tests.support.evaluated_catalogue import tiny_params
from tests.support.tiny_model_bundle import write_bundle, write_gallery
from unbundle.base.request_limits import Limits
from unbundle.http.app import create_app
from unbundle.http.serve import listen
from unbundle.http.served_champion import LiveChampion
from unbundle.index.change_journal import Journal
from unbundle.index.milvus_database import Database
from unbundle.recording.query_log import Recorder


def serve(root: Path) -> Workspace:
    """Ingest and promote `write_gallery` below `root`, the bundle in `data/bundles/<version>`."""
    workspace = Workspace(root)
    write_gallery(root)
    write_bundle(workspace.bundle)
    ingest(workspace, tiny_params(root))
    receipt = Receipt.read(workspace.receipt)
    write_bundle(workspace.bundles / receipt.bundle)
    with Database(str(workspace.milvus)) as database:
        database.promote(receipt.collection)
    return workspace


def copied(served: Workspace, folder: Path) -> Workspace:
    """A copy of a served world in a new folder, whose changes are gone with it."""
    return Workspace(Path(shutil.copytree(served.root, folder)))


def candidate(workspace: Workspace) -> Receipt:
    """Ingest the gallery with another bundle, and keep that among the bundles; not promoted."""
    write_bundle(workspace.bundle, seed=1)
    ingest(workspace, tiny_params(workspace.root))
    receipt = Receipt.read(workspace.receipt)
    shutil.copytree(workspace.bundle, workspace.bundles / receipt.bundle)
    return receipt


@dataclass(frozen=True)
class Service:
    """A running REST service of this process."""

    live: LiveChampion
    client: httpx.Client
    url: str
    port: int


@contextmanager
def service(
    bundles: Path,
    uri: Path,
    limits: Limits,
    journal: Journal | None = None,
    recorder: Recorder | None = None,
    images: Path | None = None,
    samples: Path | None = None,
    image_roots: Sequence[Path] = (),
) -> Iterator[Service]:
    """Serve on a free port of the loopback; stop gracefully at the end of the block."""
    live = LiveChampion(bundles, str(uri), threads=1, poll=limits.poll)
    journal = journal or Journal(uri.parent / "journal")
    app = create_app(live, limits, journal, recorder, images, samples, image_roots=image_roots)
    config = uvicorn.Config(app, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    # It listens already: a client that comes before the service has started waits.
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
                yield Service(live, client, url, port)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serving(world: Workspace, *arguments: str, **environment: str) -> Iterator[tuple[str, int]]:
    """`unbundle serve` in a process of its own, stopped by SIGTERM: its address and process id."""
    program = "import sys; from unbundle.cli import main; main(['serve', *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=world.root,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
        try:
            yield line.removeprefix("unbundle listens on ").strip(), process.pid
        finally:
            process.terminate()
            assert process.wait(30) == 0


def close(found: Any, wanted: Any) -> None:
    """Equal, but for the last bits of a matrix product of another shape."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            close(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            close(one, other)
    else:
        assert found == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


class Upload:
    """A request whose body does not come; it has its place once the service asks for the body."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(
            b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 17\r\nExpect: 100-continue\r\n\r\n"
        )
        self.file = self._socket.makefile("rb")
        assert self.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        self.file.readline()

    def send(self) -> int:
        self._socket.sendall(b'{"caption":"red"}')
        return int(self.file.readline().split()[1])

    def close(self) -> None:
        self.file.close()
        self._socket.close()
