"""Flow `refresh`: the serving index follows its source catalogue, shard by shard.

    python -m flows.refresh

A retraining is not needed: products are encoded with the champion's bundle.
"""

from pathlib import Path

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.reporting.reports import report_refresh
from flows.running.run_from_terminal import run_flow
from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.index.apply_refresh import IndexRefresh
from tasks.index.refresh_plan import Task
from unbundle.base.errors import UserError


@flow
def refresh(root: Path = Path()) -> State[None]:
    """Add, change and delete products of the serving index as the source says.

    Args:
        root: folder of `dvc.yaml`.
    """
    log = get_run_logger().info
    try:
        params = load_params(root / "params.yaml")
        with IndexRefresh(Workspace(root), params) as work:
            counts = work.plan()
            log("to do: %s", ", ".join(f"{n:,} {name}" for name, n in counts.items()) or "nothing")
            work.delete_removed()
            for shard in work.shards():
                put_shard(work, shard)
            refreshed = work.finish()
    except UserError as error:
        return Failed(message=str(error))
    report_refresh(refreshed)
    return Completed(message=f"{refreshed.line}; receipt: {refreshed.receipt}")


@task(task_run_name="shard", cache_policy=NO_CACHE)
def put_shard(work: IndexRefresh, shard: list[Task]) -> None:
    """Validate, encode and write some products; bad ones stay out and are named in the receipt.

    Args:
        work: the refresh.
        shard: rows of the source.
    """
    work.put(shard)
    get_run_logger().info("lines %d to %d: done", shard[0].line, shard[-1].line)


if __name__ == "__main__":
    run_flow(refresh)
