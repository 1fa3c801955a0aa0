"""The decision that is not a stage: whether clients are answered from the fresh collection."""

from pathlib import Path

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.reports import report_decision
from flows.stages import run_stages
from serving.errors import UserError
from tasks.params import load_params
from tasks.promote import promote
from tasks.workspace import Workspace


def run_to_promotion(root: Path, *stages: str) -> State[None]:
    """Bring stages up to date, then let the gate decide.

    Returns:
        The state for a flow to end in: `Promoted`, or `Rejected`, which is no failure.
    """
    state = run_stages(root, *stages)
    if not state.is_completed():
        return state
    decided = promote_candidate(root, return_state=True)
    # A new state: Prefect replaces the message of one that belongs to a task.
    return State(type=decided.type, name=decided.name, message=decided.message)


@task(task_run_name="promote", cache_policy=NO_CACHE)
def promote_candidate(root: Path) -> State[None]:
    """Judge the collection of the last ingestion and promote it if every rule of the gate holds.

    Args:
        root: folder of `dvc.yaml`.
    """
    try:
        decision = promote(Workspace(root), load_params(root / "params.yaml"))
    except UserError as error:
        return Failed(message=str(error))
    report_decision(decision)
    outcome = f"{decision.candidate}: {decision.reason}"
    if not decision.promoted:
        serving = decision.champion or "nothing"
        return Completed(
            name="Rejected",
            message=f"{outcome}; {serving} serves as before, the artifact `gate` has every rule",
        )
    replaced = decision.champion not in (None, decision.candidate)
    back = f"; `unbundle rollback` serves {decision.champion} again" if replaced else ""
    return Completed(name="Promoted", message=outcome + back)
