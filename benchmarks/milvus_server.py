"""A Milvus server of one's own, for as long as a command runs.

    python -m benchmarks.milvus_server data/milvus-server -- python -m benchmarks.scale

The PyPI package `milvus` is the server's binary (2.3.5 is the newest for Linux). It listens on all
interfaces whatever its settings say, so server and command run in a network namespace that has the
loopback alone, and in a process namespace that ends with the command: SIGTERM does not stop it. Its
settings are those of `infra/compose.yaml`, so that what is measured is what is deployed.
"""

import argparse
import fcntl
import importlib.util
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

COMPOSE = Path(__file__).parents[1] / "infra/compose.yaml"

_APART = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_INSIDE = "--inside"
_TUNED = ("DATACOORD_", "DATANODE_", "INDEXNODE_", "QUERYNODE_", "QUERYCOORD_")


def missing() -> str:
    """Why no server can run here; empty where one can."""
    if importlib.util.find_spec("milvus") is None:
        return "the package milvus is not installed (Linux on x86-64 only)"
    if shutil.which("unshare") is None:
        return "no command unshare"
    done = subprocess.run([*_APART, "true"], capture_output=True, text=True, check=False)
    return f"no namespace of one's own: {done.stderr.strip()}" if done.returncode else ""


def command(folder: Path, inner: Sequence[str]) -> list[str]:
    """The command that runs `inner` beside a server on `folder`, MILVUS_URI naming it."""
    module = [sys.executable, "-m", "benchmarks.milvus_server"]
    return [*_APART, *module, _INSIDE, str(folder), "--", *inner]


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Start a server on `folder` in this network; yield its address; stop it."""
    from milvus import MilvusServer

    os.environ.update(_settings())
    _raise_loopback()
    server = MilvusServer()
    server.set_base_dir(str(folder))
    server.start()
    try:
        yield f"http://127.0.0.1:{server.listen_port}"
    finally:
        server.stop()


def _settings() -> dict[str, str]:
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    given = services["milvus"]["environment"].items()
    return {name: str(value) for name, value in given if name.startswith(_TUNED)}


def _raise_loopback() -> None:
    # A new namespace's loopback is down; `ip link set lo up` without the package that has `ip`.
    up, set_flags = 1, 0x8914
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh", b"lo", up))


def main() -> None:
    """Run the command of the arguments beside a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the server's data, kept")
    parser.add_argument("command", nargs="+")
    parser.add_argument(_INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        if reason := missing():
            sys.exit(f"error: no Milvus server: {reason}")
        sys.exit(subprocess.run(command(options.folder, options.command), check=False).returncode)
    with running(options.folder) as uri:
        environment = os.environ | {"MILVUS_URI": uri}
        code = subprocess.run(options.command, env=environment, check=False).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
