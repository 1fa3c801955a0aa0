"""Flow `evaluate`: the queries, the gate and the promotion.

    python -m flows.evaluate

Its inputs have to be there: flow `ingest` makes them. It ends as `Promoted` or `Rejected`.
"""

from pathlib import Path

from prefect import State, flow

from flows.running.await_approval_and_promote import run_to_promotion
from flows.running.run_from_terminal import run_flow


@flow
def evaluate(root: Path = Path()) -> State[None]:
    """Measure the fresh collection and promote it if every rule of the gate holds.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_to_promotion(root, "evaluate")


if __name__ == "__main__":
    run_flow(evaluate)
