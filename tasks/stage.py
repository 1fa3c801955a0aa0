"""Runs a stage as a command: parameters in, one line per mistake, an exit code out."""

import os
import sys
from collections.abc import Callable

from serving.errors import told_in_one_line
from tasks.params import Params, load_params
from tasks.workspace import Workspace

Stage = Callable[[Workspace, Params], None]

OFF = {
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
"""Telemetry, network look-ups and progress bars of the packages that stages import."""


def run_stage(stage: Stage, arguments: list[str] | None = None) -> None:
    """Run `stage` in the current folder and exit: 0, or 1 after one line that says why.

    `--debug` shows the traceback of a user's mistake.
    """
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    with told_in_one_line(debug):
        stage(Workspace(), load_params())
