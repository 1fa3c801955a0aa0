"""A Prefect server, a worker and the deployments on this machine, until Ctrl-C.

    make orchestrate          # or: python -m flows.prefect.run_server_and_worker --port 4200

The server keeps its records in `data/prefect/`. What runs when it is stopped is told to stop, too:
stages that had finished are kept, and the next run goes on from them. No process is left.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from urllib.error import URLError
from urllib.request import urlopen

import typer

from flows.running.processes import follow, process_group
from tasks.base.params import load_params
from tasks.base.progress import console
from unbundle.base.errors import UserError, told_in_one_line

HOST = "127.0.0.1"
_START_S = 180.0  # of the server; its first start makes a database
_PAUSE_S = 0.2
_TIDY_S = 5.0  # beyond what a stage may take


def orchestrate(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the server.")] = 4200,
) -> None:
    """Start server, worker and deployments; stop all of them on Ctrl-C."""
    root = Path()
    grace_s = load_params(root / "params.yaml").orchestrate.stop_grace_s + _TIDY_S
    _check_free(port)
    environment = _environment(root, port)
    os.environ |= environment
    prefect = [sys.executable, "-m", "prefect"]
    with _terminable():
        serve = [*prefect, "server", "start", "--host", HOST, "--port", str(port)]
        log = root / "data/prefect/server.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            log.open("w", encoding="utf-8") as output,
            process_group(serve, root, environment, grace_s, output) as server,
        ):
            _await(f"http://{HOST}:{port}/api/health", server.poll)
            # Imported now: Prefect reads the server's address from the environment, once.
            from flows.prefect.deployments import POOL, apply, bury

            apply(root)
            bury()
            worker = [*prefect, "worker", "start", "--pool", POOL, "--type", "process"]
            with process_group(worker, root, environment, grace_s) as working:
                console.print(f"deployments, runs and artifacts: http://{HOST}:{port}")
                console.print("Ctrl-C stops all of it")
                for line in follow(working):
                    if line is not None:
                        console.print(line, markup=False)
                    if server.poll() is not None:
                        raise UserError(f"the Prefect server ended with {server.returncode}")
                raise UserError(f"the worker ended with {working.returncode}")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, and end with one line instead of a traceback."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # A shell's background process starts with SIGINT ignored, and its children would, too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        console.print("stopped; finished stages are kept")


def _environment(root: Path, port: int) -> dict[str, str]:
    path = [str(root.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PREFECT_HOME": str((root / "data/prefect").resolve()),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
    }


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise UserError(f"{HOST}:{port}: in use; give another --port") from None


def _await(url: str, ended: Callable[[], int | None]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if ended() is not None:
            raise UserError("the Prefect server ended at once; data/prefect/server.log says why")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(_PAUSE_S)
    raise UserError(f"{url}: no answer within {_START_S:g} s")


if __name__ == "__main__":
    with told_in_one_line(debug="--debug" in sys.argv):
        typer.run(orchestrate)
