"""A DVC stage as a Prefect task. DVC is the cache and decides whether the stage runs."""

import json
import threading
from functools import partial
from importlib.metadata import version
from pathlib import Path

from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Cancelled, Completed, Failed

from flows.reporting.reports import report_stage
from flows.running.dvc import DvcError, StoppedError, run_dvc
from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from unbundle.base.errors import UserError


def run_stages(root: Path, *stages: str) -> State[None]:
    """Bring stages up to date, one after the other; the first one that fails ends it.

    Returns:
        The state for a flow to end in, with a message that says what to do.
    """
    messages = []
    for stage in stages:
        spread = spread_shards(stage, root)
        if spread and not spread.is_completed():
            return Failed(message=spread.message)
        state = dvc_stage(stage, root, return_state=True)
        if not state.is_completed():
            # A new state: Prefect replaces the message of one that belongs to a task.
            return Failed(message=state.message)
        messages.append(str(state.message))
    return Completed(message=", ".join(messages))


def spread_shards(stage: str, root: Path) -> State[None] | None:
    """Have workers write a stage's shards where params say so and DVC would run the stage.

    Returns:
        How that ended; None where there was nothing to spread.
    """
    try:
        params = load_params(root / "params.yaml").orchestrate
        if not params.spreads:
            return None
        # Imported now: torch and Dask take seconds, which runs that spread nothing need not wait.
        from flows.running.shard_tasks import STAGES, write_shards

        if stage not in STAGES:
            return None
        lines: list[str] = []
        run_dvc(["status", "--json", stage], root, params, lines.append, _stop_event())
    except UserError as error:
        return Failed(message=str(error))
    except DvcError as error:
        return Failed(message=f"stage {stage}: {error}; repair it, then run this flow again")
    changed = json.loads("".join(lines))
    return write_shards(stage, root, params) if changed else None


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def dvc_stage(stage: str, root: Path) -> State[None]:
    """Bring the outputs of one stage up to date; what it reads has to be there already.

    Only a busy workspace is waited for: a stage that failed would fail again.

    Args:
        stage: its name in `dvc.yaml`.
        root: folder of `dvc.yaml`.
    """
    # Prefect adds the run; `PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER=json` prints all of it.
    log = partial(get_run_logger().info, extra={"stage": stage, "version": version("unbundle")})
    try:
        params = load_params(root / "params.yaml").orchestrate
        ran = run_dvc(["repro", "--single-item", stage], root, params, log, _stop_event())
    except UserError as error:
        return Failed(message=str(error))
    except DvcError as error:
        return Failed(message=f"stage {stage}: {error}; repair it, then run this flow again")
    except StoppedError:
        return Cancelled(message=f"stage {stage}: stopped with its flow")
    report_stage(stage, Workspace(root))
    return Completed(message=f"{stage} {'ran' if ran else 'was up to date'}")


def _stop_event() -> threading.Event | None:
    """What a thread pool's runner sets when its flow is stopped; None on the main thread.

    Prefect shows it to its engine only, and interrupts no thread.
    """
    flow, run = FlowRunContext.get(), TaskRunContext.get()
    events: dict[object, threading.Event] = getattr(flow and flow.task_runner, "_cancel_events", {})
    return events.get(run.task_run.id) if run else None
