"""Runs DVC for flows: lines as they come, patience with a busy workspace, no process left behind.

DVC is a child process in a session of its own and not the library in this one: killing `dvc` alone
leaves the stage that it started running and lets a second writer in, so a stop reaches the group.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from flows.running.parse_dvc_output import Output
from flows.running.processes import follow, process_group
from tasks import OFF
from tasks.base.params import Orchestrate
from unbundle.base.errors import UserError


class DvcError(Exception):
    """DVC or the stage that it ran failed: one line with the reason."""


class BusyError(UserError):
    """Another DVC command used the workspace for longer than `orchestrate.busy_wait_s`."""


class StoppedError(Exception):
    """Another thread asked for a stop."""


def run_dvc(
    arguments: Sequence[str],
    root: Path,
    params: Orchestrate,
    log: Callable[[str], None],
    stop: threading.Event | None = None,
) -> bool:
    """Run `dvc ARGUMENTS` in `root` and hand each line of output to `log`, on any thread.

    An exception in it, Ctrl-C and a termination signal included, first ends every process that DVC
    started: SIGINT, then SIGKILL after `params.stop_grace_s`.

    Args:
        arguments: of `dvc`, such as `["repro", "--single-item", "detect"]`.
        root: folder of `dvc.yaml`.
        params: patience with a busy workspace and with a stage that is being stopped.
        log: takes one line without its end.
        stop: set by another thread to stop.

    Returns:
        Whether a stage's command ran; False when DVC found all up to date or in its cache.

    Raises:
        DvcError: DVC or the stage failed.
        BusyError: another DVC command did not finish in time.
        StoppedError: `stop` was set.
    """
    stop = stop or threading.Event()
    deadline = time.monotonic() + params.busy_wait_s
    while True:
        code, output = _attempt(arguments, root, params, log, stop)
        if code == 0:
            return output.ran
        if not output.busy:
            raise DvcError(output.reason)
        busy = f"{root.resolve()}: used by another DVC command{output.blocker}"
        left = deadline - time.monotonic()
        if left <= 0:
            raise BusyError(
                f"{busy} for {params.busy_wait_s:g} s; let it end or stop it, then run this again"
            )
        log(f"{busy}; waiting for it, {left:.0f} s more at most")
        stop.wait(min(params.busy_pause_s, left))


def _attempt(
    arguments: Sequence[str],
    root: Path,
    params: Orchestrate,
    log: Callable[[str], None],
    stop: threading.Event,
) -> tuple[int, Output]:
    output = Output()
    command = [sys.executable, "-m", "dvc", *arguments]
    with process_group(command, root, _environment(), params.stop_grace_s) as process:
        for line in follow(process):
            if stop.is_set():
                raise StoppedError(f"dvc {' '.join(arguments)}: stopped")
            if line is not None and output.take(line):
                log(line)
        return process.wait(), output


def _environment() -> dict[str, str]:
    """This process's environment for a stage, which must not take itself for a part of the flow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    # Stages are `python -m tasks.…`: the interpreter of this environment, activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return OFF | kept | {"PATH": path, "PYTHONUNBUFFERED": "1"}
