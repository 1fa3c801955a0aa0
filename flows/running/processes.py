"""Child processes that are followed line by line and never outlive their block."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import psutil

POLL_S = 0.2
"""How long an exception for a silent child's thread may wait."""


@contextmanager
def process_group(
    command: list[str],
    folder: Path,
    environment: Mapping[str, str],
    grace_s: float,
    output: int | IO[str] = subprocess.PIPE,
) -> Iterator["subprocess.Popen[str]"]:
    """Run a command in a session of its own; no process of it is left when the block ends.

    Whatever ends the block early, Ctrl-C and a termination signal included, interrupts the whole
    group (SIGINT), and kills what is left of it, and of sessions that it started, after `grace_s`
    seconds.

    Args:
        command: program and arguments.
        folder: where it runs.
        environment: all of its environment variables.
        grace_s: time to tidy up.
        output: where it writes; a pipe has to be read (`follow`), or the process stops in the end.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    left: list[psutil.Process] = []
    try:
        yield process
    finally:
        try:
            if process.poll() is None:
                family = _descendants(process.pid)
                os.killpg(process.pid, signal.SIGINT)
                deadline = time.monotonic() + grace_s
                with suppress(subprocess.TimeoutExpired):
                    process.wait(grace_s)
                # A worker ends at once; the flows that it ran stop their stages first.
                _, left = psutil.wait_procs(family, max(0.0, deadline - time.monotonic()))
        finally:
            for straggler in left:
                with suppress(psutil.NoSuchProcess):
                    straggler.kill()
            # Also what outlived the first process: a group keeps its id as long as it has members.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _descendants(process: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process).children(recursive=True)
    return []


def follow(process: "subprocess.Popen[str]") -> Iterator[str | None]:
    """Yield the lines of a process as they come, and None whenever it is silent, until it ends."""
    queue: SimpleQueue[str | None] = SimpleQueue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, queue), daemon=True).start()
    ended = False
    while not ended:
        # Short waits: an exception that is meant for this thread arrives between them only.
        try:
            line = queue.get(timeout=POLL_S)
            ended = line is None
        except Empty:
            # Something that left the group may hold the pipe open.
            line, ended = None, process.poll() is not None
        yield line


def _read(stream: IO[str], queue: "SimpleQueue[str | None]") -> None:
    with stream:
        for line in stream:
            queue.put(line.rstrip())
    queue.put(None)
