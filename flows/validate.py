"""Flow `validate`: the catalogue and its clean rows.

    python -m flows.validate

The two stages that need no other's output.
"""

from pathlib import Path

from prefect import State, flow

from flows.running.stages import run_stages
from flows.running.terminal import run_flow


@flow
def validate(root: Path = Path()) -> State[None]:
    """Fetch or render the catalogue, then check every row and photo.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "catalogue", "validate")


if __name__ == "__main__":
    run_flow(validate)
