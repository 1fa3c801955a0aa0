"""Applies `infra/prefect.yaml`: work pool, deployments and automations, made or brought up to date.

    python -m flows.prefect.deployments

Needs a Prefect server (PREFECT_API_URL); `make orchestrate` starts one and does this first.
"""

import os
import subprocess
import sys
from pathlib import Path

from prefect import State, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from flows.prefect.automations import NOTIFY, apply_automations
from unbundle.base.errors import UserError, told_in_one_line

REGISTRY = Path("infra/prefect.yaml")
POOL = "unbundle"
AT_ONCE = 1
"""Runs of a new pool: a Milvus Lite folder belongs to one process."""


def apply(root: Path = Path()) -> None:
    """Make the work pool where it is missing, apply every deployment of the registry, automate.

    Args:
        root: folder of `dvc.yaml`, in which runs work.

    Raises:
        UserError: no registry, no server, or Prefect refuses a deployment.
    """
    if not (root / REGISTRY).is_file():
        raise UserError(f"{root / REGISTRY}: no such file; run this in the project's folder")
    _create_pool(root.resolve())
    command = ["deploy", "--all", "--prefect-file", str(REGISTRY)]
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *command],
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(python_path(root))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word of Prefect's"]
        raise UserError(f"{REGISTRY}: {lines[-1]}; repair it and run this again")
    apply_automations(os.environ.get(NOTIFY))


def bury() -> None:
    """Mark the pool's runs that no process runs any more as crashed; no worker may be at work.

    A worker that was killed leaves its runs as running, and the next ones would wait for them.
    """
    left = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(
                any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
            )
        )
    )
    with get_client(sync_client=True) as client:
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
        for run in client.read_flow_runs(flow_run_filter=left, work_pool_filter=pool):
            gone: State[None] = Crashed(
                message="its worker is gone; the next run goes on from what is done"
            )
            client.set_flow_run_state(run.id, gone, force=True)


def python_path(root: Path) -> list[str]:
    """Where Python finds this checkout's code before any other's."""
    given = os.environ.get("PYTHONPATH")
    return [str(root.resolve()), *([given] if given else [])]


def _create_pool(root: Path) -> None:
    with get_client(sync_client=True) as client:
        if client.api_healthcheck():
            raise UserError(f"{client.api_url}: no Prefect server answers; run `make orchestrate`")
        template = ProcessWorker.get_default_base_job_template()
        # Runs work in the checkout itself: its cache and its Milvus Lite are theirs.
        template["variables"]["properties"]["working_dir"]["default"] = str(root)
        try:
            client.read_work_pool(POOL)
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
        except ObjectNotFound:
            client.create_work_pool(
                WorkPoolCreate(
                    name=POOL,
                    type=ProcessWorker.type,
                    base_job_template=template,
                    concurrency_limit=AT_ONCE,
                )
            )


if __name__ == "__main__":
    with told_in_one_line(debug="--debug" in sys.argv):
        apply()
        print(f"{REGISTRY}: applied")  # noqa: T201
