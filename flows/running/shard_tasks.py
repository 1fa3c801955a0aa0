"""Shards of a stage, written by the workers that `orchestrate.runner` of params.yaml names.

Off by default: the stage does as well on one machine. What is written here is there when DVC runs
the stage, which then only puts it together. The arithmetic is in docs/scale.md.
"""

import logging
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dask
from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect_dask.task_runners import DaskTaskRunner

import tasks.features
import tasks.views
from tasks.base.params import Orchestrate, Params, load_params
from tasks.base.workspace import Workspace
from tasks.tokens.write_shards import WriteShard, check_begun
from unbundle.base.errors import UserError

LOOPBACK = "127.0.0.1"
_GONE = "60 s"
"""Without any worker for so long, shards of a flow's own cluster fail."""


@dataclass(frozen=True)
class Sharded:
    """A stage whose shards any process can write that sees the workspace."""

    folder: Callable[[Workspace, Params], Path]
    missing: Callable[[Workspace, Params], list[int]]
    write: WriteShard


STAGES = {
    name: Sharded(module.shard_folder, module.missing_shards, module.write_shard)
    for name, module in (("features", tasks.features), ("views", tasks.views))
}


def task_runner(params: Orchestrate) -> TaskRunner[Any]:
    """What maps shards: threads, a Dask cluster of this machine's own, or the one at an address."""
    if params.runner == "thread":
        return ThreadPoolTaskRunner(max_workers=params.workers)
    if params.dask_address:
        return DaskTaskRunner(address=params.dask_address)
    # Its notes at every start and end; warnings stay.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    dask.config.set(
        {
            # It would wait for ever for a worker to come back.
            "distributed.scheduler.no-workers-timeout": _GONE,
            # Dask's own would give memory back to the system after every crop: a fifth of the rate.
            "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1},
        }
    )
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": params.workers,
            "threads_per_worker": 1,
            "host": LOOPBACK,
            # No dashboard; Dask's port for health and figures is a free one of the loopback's.
            "dashboard_address": f"{LOOPBACK}:0",
            "scheduler_kwargs": {"dashboard": False},
        }
    )


def write_shards(stage: str, root: Path, params: Orchestrate) -> State[None]:
    """Write the missing shards of a stage on the task runner that params name.

    Args:
        stage: one of `STAGES`.
        root: folder of `dvc.yaml`; workers have to see it under the same path.
        params: which runner.
    """
    runner = task_runner(params)
    return cast(
        State[None],
        shards.with_options(task_runner=runner)(stage, root.resolve(), return_state=True),
    )


# Dask sends flow and task to its workers by value. The quotes keep `State[None]` out: it belongs to
# whichever module named it first, and one that a worker has not imported would end the worker.
@flow(flow_run_name="shards of {stage}")
def shards(stage: str, root: Path) -> "State[None]":
    """Write the missing shards of a stage; those that are written stay, whatever happens.

    Args:
        stage: one of `STAGES`.
        root: folder of `dvc.yaml`.
    """
    workspace = Workspace(root)
    try:
        params = load_params(root / "params.yaml")
        numbers = STAGES[stage].missing(workspace, params)
    except UserError as error:
        return Failed(message=str(error))
    except FileNotFoundError as error:
        return Failed(message=f"{error.filename}: missing; run the stage that makes it first")
    get_run_logger().info("%s: %d shards to write", stage, len(numbers))
    futures = [write_one.submit(stage, workspace, params, number) for number in numbers]
    for future in futures:
        future.wait()
        if not future.state.is_completed():
            why = future.state.message if future.state.is_final() else "its workers are gone"
            return Failed(message=f"shards of {stage}: {why}; run this flow again")
    writers = {future.result() for future in futures}
    return Completed(
        message=f"{stage}: {_count(len(numbers), 'shard', 's')} written by "
        f"{_count(len(writers), 'process', 'es')}"
    )


def _count(number: int, noun: str, plural: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else plural}"


@task(task_run_name="{stage} {number}", cache_policy=NO_CACHE, persist_result=False)
def write_one(stage: str, workspace: Workspace, params: Params, number: int) -> str:
    """Write one shard on one core: there are as many of these at once as workers.

    Args:
        stage: one of `STAGES`.
        workspace: whose folder is an absolute path.
        params: of all workers.
        number: of the shard.

    Returns:
        Host and process that wrote it.

    Raises:
        UserError: this process sees other inputs.
    """
    work = STAGES[stage].folder(workspace, params)
    check_begun(work)
    STAGES[stage].write(workspace, params, work, number, 1)
    return f"{platform.node()}:{os.getpid()}"
