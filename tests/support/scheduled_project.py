"""A project whose nights run for real and take seconds: its models are given, not trained.

Of the stages before `ingest` there is one, which does nothing: each would take a start of DVC every
night. `ingest` and `evaluate` are the real ones, on a tiny world.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import yaml

from flows.retrain import PIPELINE
from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.promote import promote
from tests.support.changing_catalogue import Shop
from tests.support.evaluated_catalogue import write_world
from tests.support.project_clone import change_params, clone
from tests.support.tiny_model_bundle import read_settings, write_bundle, write_settings

# Waits, after its first batch, as long as there is a file `hold`.
INGEST = """
import pathlib, time
from unbundle.index.gallery_collection import Gallery
from tasks.ingest import ingest
from tasks.base.stage_command import run_stage

write = Gallery.insert

def write_slowly(self, items, vectors, keypoints):
    write(self, items, vectors, keypoints)
    pathlib.Path("halfway").touch()
    while pathlib.Path("hold").exists():
        time.sleep(0.05)

Gallery.insert = write_slowly
run_stage(ingest)
"""
GIVEN = "export"
LEFT_OUT = PIPELINE[: PIPELINE.index(GIVEN)]
WAIT_S = 600.0
"""Of a busy machine."""


def write_project(folder: Path) -> Shop:
    """A promoted project: its code is the clone's, its bundle and its catalogue are tiny."""
    clone(folder)
    flow = folder / "flows/retrain.py"
    lines = flow.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.strip(' ",\n') not in LEFT_OUT]
    assert len(lines) == len(kept) + len(LEFT_OUT)
    flow.write_text("".join(kept), encoding="utf-8")
    change_params(
        folder,
        ingest={"batch": 4},
        promote={"tolerance": 0.1, "slice_tolerance": 1.0, "max_latency_ratio": 1000.0},
        orchestrate={"busy_wait_s": 60, "busy_pause_s": 0.5, "stop_grace_s": 10},
    )
    stages: dict[str, Any] = {GIVEN: {"cmd": f"touch {GIVEN}.out", "outs": [f"{GIVEN}.out"]}}
    stages["ingest"] = {
        "cmd": "python held_ingest.py",
        "always_changed": True,
        "outs": [{"artifacts/ingestion.json": {"cache": False}}],
    }
    stages["evaluate"] = {
        "cmd": "python -m tasks.evaluate",
        "always_changed": True,
        "deps": ["artifacts/ingestion.json"],
        "outs": [{"metrics/retrieval.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / "held_ingest.py").write_text(INGEST)
    workspace = write_world(folder)
    params = load_params(folder / "params.yaml")
    ingest(workspace, params)
    evaluate(workspace, params)
    assert promote(workspace, params).promoted
    return Shop(workspace)


def give_bundle(workspace: Workspace, seed: int, **weights: float) -> None:
    """What a training run leaves; with weights, a query's, it may be a bad one."""
    shutil.rmtree(workspace.bundle)
    write_bundle(workspace.bundle, seed)
    if weights:
        settings = read_settings(workspace.bundle)
        both = settings["embedding"]["weights"]["both"]
        settings["embedding"]["weights"]["both"] = {name: weights.get(name, 0.0) for name in both}
        write_settings(workspace.bundle, settings)


class Night:
    """A running `flows.prefect.run_server_and_worker`: its process, a client of its server."""

    def __init__(self, process: "subprocess.Popen[str]", client: Any) -> None:
        self.process, self.client = process, client

    def start(self, deployment: str, **parameters: Any) -> UUID:
        """Ask for a run now, as a person does."""
        found = self.client.read_deployment_by_name(deployment)
        run = self.client.create_flow_run_from_deployment(found.id, parameters=parameters)
        return UUID(str(run.id))

    def run(self, identifier: UUID) -> Any:
        return self.client.read_flow_run(identifier)

    def finish(self, identifier: UUID) -> Any:
        """The run when it has ended."""
        self.until(lambda: self.run(identifier).state.is_final())
        return self.run(identifier)

    def artifact(self, run: UUID, key: str) -> str:
        """What a run left under a key."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        found = self.client.read_artifacts(artifact_filter=mine)
        return next(str(one.data) for one in found if one.key == key)

    def worker(self) -> list[psutil.Process]:
        """The worker and all that it started."""
        for child in psutil.Process(self.process.pid).children():
            if "worker" in child.cmdline():
                return [child, *child.children(recursive=True)]
        raise AssertionError("no worker")

    def idle(self) -> None:
        """Wait for whatever runs or is about to: a Milvus Lite folder belongs to one process."""
        self.until(lambda: all(run.state.is_final() for run in self.client.read_flow_runs()))

    def stop_schedules(self) -> None:
        """Let nothing happen by the hour while tests look at the index."""
        for deployment in self.client.read_deployments():
            for schedule in deployment.schedules:
                self.client.update_deployment_schedule(deployment.id, schedule.id, active=False)

    def prefect(self, arguments: list[str]) -> None:
        """Run Prefect's command line against this server."""
        address = {"PREFECT_API_URL": str(self.client.api_url)}
        command = [sys.executable, "-m", "prefect", *arguments]
        done = subprocess.run(command, env=os.environ | address, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def until(self, holds: Callable[[], Any], run: UUID | None = None) -> Any:
        """Wait for something that the server or its worker does, or a run that must not end yet."""
        deadline = time.monotonic() + WAIT_S
        while not (value := holds()):
            assert self.process.poll() is None, "the orchestration ended"
            assert time.monotonic() < deadline, "nothing happened"
            state = self.run(run).state if run else None
            assert not (state and state.is_final()), f"{state.name}: {state.message}"
            time.sleep(0.2)
        return value


@contextmanager
def night(root: Path) -> Iterator[Night]:
    """Server, worker and deployments in a project, impatient ones."""
    from prefect.client.orchestration import SyncPrefectClient

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if "PREFECT" not in name} | {
        "PYTHONPATH": str(root),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    command = [sys.executable, "-m", "flows.prefect.run_server_and_worker", "--port", str(port)]
    log = root / f"orchestrate-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=output, stderr=output, text=True
        )
    family: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + WAIT_S
        while "Ctrl-C stops" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        with SyncPrefectClient(f"http://127.0.0.1:{port}/api") as client:
            started = Night(process, client)
            started.stop_schedules()
            yield started
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        code = process.wait(60)
        _, left = psutil.wait_procs(family, timeout=5)
        assert [one.name() for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
        assert code == 0 or not family
