"""Flow `retrain`: all stages in order, then the gate and the promotion.

    python -m flows.retrain

Only what changed runs; it ends as `Promoted` or `Rejected`, which is no failure.
"""

from pathlib import Path

from prefect import State, flow

from flows.promotion import run_to_promotion
from flows.terminal import run_flow

ROAD = (
    "catalogue",
    "validate",
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
    return run_to_promotion(root, *ROAD)


if __name__ == "__main__":
    run_flow(retrain)
