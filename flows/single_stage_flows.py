"""Flows of one or a few stages: `validate`, `detect`, `pretrain`, `export`, `ingest`.

    python -m flows.single_stage_flows detect

What a flow reads has to be there: the flow before it in this list makes it.
"""

import sys
from pathlib import Path

from prefect import State, flow

from flows.running.dvc_stage_task import run_stages
from flows.running.run_from_terminal import run_flow


@flow
def validate(root: Path = Path()) -> State[None]:
    """Fetch or render the catalogue, then check every row and photo.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "catalogue", "validate")


@flow
def detect(root: Path = Path()) -> State[None]:
    """Train the detector on the catalogue's own cut-outs and propose boxes.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "compose_queries", "detect")


@flow
def pretrain(root: Path = Path()) -> State[None]:
    """Compute the frozen backbone's features, then train CAPTURE on them.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "features", "views", "pretrain")


@flow
def export(root: Path = Path()) -> State[None]:
    """Write the bundle that a shop needs and measure its parity.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "export")


@flow
def ingest(root: Path = Path()) -> State[None]:
    """Fill the collection of this bundle and gallery, or find it filled; what serves stays.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "ingest")


FLOWS = {each.name: each for each in (validate, detect, pretrain, export, ingest)}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in FLOWS:
        sys.exit(f"error: python -m flows.single_stage_flows: expected one of {', '.join(FLOWS)}")
    run_flow(FLOWS[sys.argv[1]])
