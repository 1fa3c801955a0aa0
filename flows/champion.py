"""Flow `champion`: the serving index is asked today's labelled queries.

    python -m flows.champion

It changes nothing; the deployment `evaluate` runs it every week.
"""

from pathlib import Path

from prefect import State, flow
from prefect.states import Completed, Failed

from flows.reports import report_champion
from flows.terminal import run_flow
from serving.errors import UserError
from tasks.champion import measure_champion
from tasks.params import load_params
from tasks.workspace import Workspace


@flow
def champion(root: Path = Path()) -> State[None]:
    """Measure what clients are answered from, live changes included.

    Args:
        root: folder of `dvc.yaml`.
    """
    try:
        figures = measure_champion(Workspace(root), load_params(root / "params.yaml"))
    except UserError as error:
        return Failed(message=str(error))
    report_champion(figures)
    return Completed(message=f"{figures['collection']}: measured on today's queries")


if __name__ == "__main__":
    run_flow(champion)
