"""Flow `detect`: the detector and its boxes of every photo.

    python -m flows.detect

Its inputs have to be there: flow `validate` makes them.
"""

from pathlib import Path

from prefect import State, flow

from flows.running.stages import run_stages
from flows.running.terminal import run_flow


@flow
def detect(root: Path = Path()) -> State[None]:
    """Train the detector on the catalogue's own cut-outs and propose boxes.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "detect")


if __name__ == "__main__":
    run_flow(detect)
