"""Flow `champion`: the serving index is asked today's labelled queries.

    python -m flows.evaluate_champion

It changes nothing; the deployment `evaluate` runs it every week.
"""

from pathlib import Path

from prefect import State, flow
from prefect.states import Completed, Failed

from flows.reporting.reports import report_champion
from flows.running.run_from_terminal import run_flow
from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.evaluation.measure_champion import measure_champion
from unbundle.base.errors import UserError


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
