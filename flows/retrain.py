"""Flow `retrain`: all stages in order, then the gate and the promotion.

    python -m flows.retrain

Data that DVC tracks is brought up to date first, and outputs are pushed where a remote is set. Only
what changed runs; it ends as `Promoted` or `Rejected`, which is no failure.
"""

from pathlib import Path

from prefect import State, flow
from prefect.states import Failed

from flows.running.await_approval_and_promote import run_to_promotion
from flows.running.dvc_remote import pull_data, push_outputs
from flows.running.run_from_terminal import run_flow

PIPELINE = (
    "catalogue",
    "validate",
    "compose_queries",
    "detect",
    "features",
    "views",
    "pretrain",
    "export",
    "ingest",
    "evaluate",
)


@flow
def retrain(root: Path = Path()) -> State[None]:
    """Bring every stage up to date and promote the result if every rule of the gate holds.

    Args:
        root: folder of `dvc.yaml`.
    """
    pulled = pull_data(root, return_state=True)
    if not pulled.is_completed():
        return Failed(message=pulled.message)
    state = run_to_promotion(root, *PIPELINE)
    if state.is_completed():
        pushed = push_outputs(root, return_state=True)
        if not pushed.is_completed():
            return Failed(message=f"{state.name}, but not pushed: {pushed.message}")
    return state


if __name__ == "__main__":
    run_flow(retrain)
