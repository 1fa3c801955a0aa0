"""Flow `replay`: what the candidate would have answered to the queries that clients asked.

    python -m flows.replay

Its inputs have to be there: flow `ingest` makes them, `unbundle serve --record` the queries.
"""

from pathlib import Path

from prefect import State, flow
from prefect.states import Completed, Failed

from flows.reporting.reports import report_replay
from flows.running.run_from_terminal import run_flow
from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.monitoring.replay_queries import told
from tasks.replay import replay_candidate
from unbundle.base.errors import UserError


@flow
def replay(root: Path = Path()) -> State[None]:
    """Ask the fresh collection what was recorded, and report the largest changes.

    Args:
        root: folder of `dvc.yaml`.
    """
    workspace = Workspace(root)
    try:
        figures = replay_candidate(workspace, load_params(root / "params.yaml"))
    except UserError as error:
        return Failed(message=str(error))
    report_replay(workspace, figures)
    return Completed(message=f"{told(figures)}; look at {workspace.replay_report}/index.html")


if __name__ == "__main__":
    run_flow(replay)
