"""Flow `export`: the trained networks as a bundle.

    python -m flows.export

Its inputs have to be there: flow `pretrain` makes them.
"""

from pathlib import Path

from prefect import State, flow

from flows.running.stages import run_stages
from flows.running.terminal import run_flow


@flow
def export(root: Path = Path()) -> State[None]:
    """Write the bundle that serving needs and measure its parity.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "export")


if __name__ == "__main__":
    run_flow(export)
