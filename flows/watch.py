"""Flow `watch`: whether queries and catalogue are still what the champion was judged on.

    python -m flows.watch

It ends as `Steady` or as `Drifted`, which is no failure but raises the event `unbundle.drift`; the
automation of `flows.prefect.automations` starts `retrain` on it.
"""

from pathlib import Path

from prefect import State, flow
from prefect.events import emit_event
from prefect.states import Completed, Failed

from flows.reporting.reports import report_drift
from flows.running.run_from_terminal import run_flow
from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.monitoring.drift_report import Drift
from tasks.watch import watch as find_drift
from unbundle.base.errors import UserError

EVENT = "unbundle.drift"


@flow
def watch(root: Path = Path()) -> State[None]:
    """Compare recorded queries and the catalogue with the champion's profile.

    Args:
        root: folder of `dvc.yaml`.
    """
    workspace = Workspace(root)
    try:
        drift = find_drift(workspace, load_params(root / "params.yaml"))
    except UserError as error:
        return Failed(message=str(error))
    report_drift(workspace, drift)
    if not drift.breached:
        return Completed(name="Steady", message=drift.told)
    _raise_event(drift)
    return Completed(
        name="Drifted", message=f"{drift.told}; look at {workspace.watch_report}, then retrain"
    )


def _raise_event(drift: Drift) -> None:
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"unbundle.index.{drift.collection}",
            "prefect.resource.name": drift.collection,
        },
        payload={"figures": [figure.line for figure in drift.breached]},
    )


if __name__ == "__main__":
    run_flow(watch)
