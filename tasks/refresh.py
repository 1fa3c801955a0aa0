"""Refresh: the serving index follows its source catalogue between two trainings.

    python -m tasks.refresh

Not a DVC stage: it changes what clients are answered from. Gallery rows of the source are compared
with what the index's rows were made from. What differs is validated as `tasks.validate` does,
proposed and encoded with the champion's bundle, recorded (`unbundle.index.change_journal`) and
written, shard by shard; what the source has no more is deleted. A row that fails stays as it was
and is named in the receipt `data/refresh/<time>.json`. A run that was killed is repeated: what it
wrote is no difference any more. What a client changed by the service holds until the source changes
that row.
"""

from tasks.base.params import Params
from tasks.base.progress import console, track
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.index.apply_refresh import IndexRefresh, Refreshed


def refresh(workspace: Workspace, params: Params) -> Refreshed:
    """Bring the champion's index up to the source catalogue, see `IndexRefresh`."""
    with IndexRefresh(workspace, params) as work:
        counts = work.plan()
        work.delete_removed()
        total = -(-(counts.get("added", 0) + counts.get("changed", 0)) // params.refresh.shard)
        for shard in track(work.shards(), f"shards of {params.refresh.shard} products", total):
            work.put(shard)
        refreshed = work.finish()
    console.print(f"  {refreshed.line} → {refreshed.receipt}")
    return refreshed


def _refresh(workspace: Workspace, params: Params) -> None:
    refresh(workspace, params)


if __name__ == "__main__":
    run_stage(_refresh)
