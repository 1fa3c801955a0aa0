"""Runs a stage as a command: parameters in, one line per mistake, an exit code out."""

import sys
from collections.abc import Callable

from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from unbundle.base.errors import told_in_one_line

Stage = Callable[[Workspace, Params], None]


def run_stage(stage: Stage, arguments: list[str] | None = None) -> None:
    """Run `stage` in the current folder and exit: 0, or 1 after one line that says why.

    `--debug` shows the traceback of a user's mistake.
    """
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    with told_in_one_line(debug):
        stage(Workspace(), load_params())
