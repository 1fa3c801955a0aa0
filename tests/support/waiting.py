"""Waiting for what another process or thread does, with a limit and without a spinning core."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_S = 600.0
"""Of a busy machine."""


def until(holds: Callable[[], T], pause: float = 0.02) -> T:
    """Call `holds` until what it returns is true; returns that.

    Args:
        holds: is asked again and again; what it raises ends the wait.
        pause: seconds between two calls.

    Raises:
        AssertionError: nothing happened within `WAIT_S`.
    """
    deadline = time.monotonic() + WAIT_S
    while not (value := holds()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(pause)
    return value


def listens(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
