"""Runs a stage as a command: parameters in, one line per mistake, an exit code out."""

import os
import sys
from collections.abc import Callable

from rich.console import Console

from serving.errors import UserError
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
    try:
        stage(Workspace(), load_params())
    except UserError as error:
        if debug:
            raise
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            "error:", str(error), style="red", markup=False
        )
        raise SystemExit(1) from None
