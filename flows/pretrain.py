"""Flow `pretrain`: visual tokens of every box, then CAPTURE.

    python -m flows.pretrain

Its inputs have to be there: flow `detect` makes them. Features are stored on the way.
"""

from pathlib import Path

from prefect import State, flow

from flows.running.stages import run_stages
from flows.running.terminal import run_flow


@flow
def pretrain(root: Path = Path()) -> State[None]:
    """Compute the frozen backbone's features, then train CAPTURE on them.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "features", "views", "pretrain")


if __name__ == "__main__":
    run_flow(pretrain)
