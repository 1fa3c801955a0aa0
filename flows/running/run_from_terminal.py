"""Runs a flow from a terminal: a line that says how it ended, an exit code, nothing left behind."""

import signal
import sys
from pathlib import Path
from typing import NoReturn

from prefect import Flow, State, get_client

from tasks.base.progress import console


def run_flow(flow: Flow[[Path], State[None]]) -> NoReturn:
    """Run `flow` in the current folder and exit: 0 when it completed, rejected included, else 1.

    Without `PREFECT_API_URL` Prefect starts a temporary server for the time of the run.
    """
    # Prefect hands a termination signal on to the former handler; the default one would end this
    # process without stopping the temporary server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Ctrl-C reaches the temporary server, too, and it would be gone before the flow can tell it how
    # it ended. A process starts with its parent's blocked signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    client = get_client(sync_client=True)
    problem = client.api_healthcheck()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if problem:
        sys.exit(
            f"error: {client.api_url}: no Prefect server answers; start it, or unset "
            "PREFECT_API_URL for a temporary one"
        )
    try:
        state = flow(return_state=True)
    except KeyboardInterrupt:
        console.print(f"{flow.name}: interrupted; stages that had finished are kept")
        sys.exit(128 + signal.SIGINT)
    console.print(f"{flow.name}: {state.name}: {state.message}", markup=False)
    sys.exit(0 if state.is_completed() else 1)
