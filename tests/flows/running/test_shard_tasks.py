"""Shards written by other processes are the very bytes of the stage alone."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from distributed import Client, LocalCluster
from prefect import flow

from benchmarks import dask_cluster
from flows.running.dvc_stage_task import run_stages
from flows.running.shard_tasks import task_runner, write_shards
from tasks.base.digests import digest, folder_files
from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.features import features, missing_shards
from tests.support.detected_workspace import write_detected
from tests.support.project_clone import REPOSITORY, change_params

pytestmark = pytest.mark.usefixtures("prefect_server")

Project = Callable[[dict[str, str]], Path]
SHARD_ROWS = 32
STAGE = "import sys; open(sys.argv[0].replace('.py', '.out'), 'w').write('1')"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace before its first shard: of the features there is the exported network."""
    root = write_detected(tmp_path_factory.mktemp("begun"))
    change_params(root, features={"shard_rows": SHARD_ROWS})
    missing_shards(Workspace(root), load_params(root / "params.yaml"))
    return root


@pytest.fixture(scope="module")
def alone(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the features that the stage computes by itself."""
    return _finished(_copy(begun, tmp_path_factory.mktemp("alone")))


@pytest.fixture
def root(begun: Path, tmp_path: Path) -> Path:
    return _copy(begun, tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """The cluster that a flow would start: two processes."""
    params = load_params().orchestrate.model_copy(update={"runner": "dask", "workers": 2})
    with LocalCluster(**task_runner(params).cluster_kwargs) as started:
        yield started


def _copy(begun: Path, folder: Path) -> Path:
    return Path(shutil.copytree(begun, folder, dirs_exist_ok=True))


def _finished(root: Path) -> str:
    features(Workspace(root), load_params(root / "params.yaml"))
    return digest(*folder_files(Workspace(root).features))


def _spread(root: Path, **settings: str | int) -> str | None:
    change_params(root, orchestrate=settings)
    params = load_params(root / "params.yaml")
    message = write_shards("features", root, params.orchestrate).message
    assert missing_shards(Workspace(root), params) == []
    return message


def test_two_dask_processes_write_what_the_stage_writes(
    alone: str, root: Path, cluster: LocalCluster
) -> None:
    message = _spread(root, runner="dask", dask_address=cluster.scheduler_address)
    assert message == "features: 5 shards written by 2 processes"
    assert _finished(root) == alone


@pytest.fixture
def documented(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster that the commands of docs/scale.md start."""
    found = re.findall(r"^\$ (dask .*)$", (REPOSITORY / "docs/scale.md").read_text("utf-8"), re.M)
    assert [command.split()[1] for command in found] == ["scheduler", "worker"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    changes = {"10.0.0.5": "127.0.0.1", ":8786": f":{port}", "--nworkers 8": "--nworkers 2"}
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with ExitStack() as running:
        for command in found:
            for old, new in changes.items():
                command = command.replace(old, new)
            arguments = shlex.split(command)
            arguments += ["--port", port] if "scheduler" in arguments else []
            process = subprocess.Popen(
                arguments, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
            )
            running.callback(process.wait, 60)
            running.callback(process.terminate)
        with Client(f"tcp://127.0.0.1:{port}", timeout="120s", set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
        yield f"tcp://127.0.0.1:{port}"


def test_the_documented_cluster_writes_what_the_stage_writes(
    alone: str, root: Path, documented: str
) -> None:
    message = _spread(root, runner="dask", dask_address=documented)
    assert message == "features: 5 shards written by 2 processes"
    assert _finished(root) == alone


def test_two_threads_write_what_the_stage_writes(alone: str, root: Path) -> None:
    assert _spread(root, workers=2) == "features: 5 shards written by 1 process"
    assert _finished(root) == alone


def test_a_cluster_of_a_flows_own_listens_on_the_loopback_only(cluster: LocalCluster) -> None:
    assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
    own = psutil.Process()
    listening = {
        connection.laddr.ip
        for process in [own, *own.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_shards_are_spread_only_where_dvc_would_run_the_stage(project: Project) -> None:
    @flow
    def pipeline() -> Any:
        return run_stages(root, "features")

    root = project({"features": STAGE})
    assert pipeline(return_state=True).message == "features ran"
    change_params(root, orchestrate={"workers": 2})
    assert pipeline(return_state=True).message == "features was up to date"
    (root / "features.py").write_text(f"{STAGE} # changed")
    missing = f"{root.resolve()}/data/manifest.parquet: missing; run the stage that makes it first"
    assert pipeline(return_state=True).message == missing


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"runner": "spark"}, "runner: Input should be 'thread' or 'dask', found 'spark'"),
        ({"runner": None}, "runner: Input should be 'thread' or 'dask', found None"),
        ({"workers": 0}, "workers: Input should be greater than or equal to 1, found 0"),
        (
            {"dask_address": "tcp://10.0.0.5:8786"},
            "dask_address: Value error, of no use to runner thread; set runner: dask, "
            "found 'tcp://10.0.0.5:8786'",
        ),
    ],
)
def test_a_wrong_runner_is_one_line(tmp_path: Path, settings: dict[str, Any], problem: str) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    change_params(tmp_path, orchestrate=settings)
    state = run_stages(tmp_path, "features")
    assert (state.name, state.message) == (
        "Failed",
        f"{tmp_path}/params.yaml: orchestrate.{problem}",
    )


def test_a_missing_runner_is_one_line(tmp_path: Path) -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    del params["orchestrate"]["runner"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    message = run_stages(tmp_path, "features").message
    assert message == f"{tmp_path}/params.yaml: orchestrate.runner: missing; add it"


def test_the_benchmarks_section_tells_the_ratio() -> None:
    text = dask_cluster.section({1: 10.0, 2: 18.0}, photos=2048, shard_rows=64)
    assert "| 2 | 18.0 | 1.80 times |" in text
