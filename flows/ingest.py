"""Flow `ingest`: the gallery's vectors in Milvus.

    python -m flows.ingest

Its inputs have to be there: flow `export` makes them. What clients search stays as it is.
"""

from pathlib import Path

from prefect import State, flow

from flows.running.stages import run_stages
from flows.running.terminal import run_flow


@flow
def ingest(root: Path = Path()) -> State[None]:
    """Fill the collection of this bundle and gallery, or find it filled.

    Args:
        root: folder of `dvc.yaml`.
    """
    return run_stages(root, "ingest")


if __name__ == "__main__":
    run_flow(ingest)
