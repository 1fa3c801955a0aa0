"""Shards written by other processes are the very bytes of the stage alone."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from clones import change_params
from detected import write_detected
from distributed import LocalCluster

from flows.shards import task_runner, write_shards
from flows.stages import run_stages
from tasks.digests import digest, folder_files
from tasks.features import BACKBONE, features, missing_shards
from tasks.params import Params, load_params
from tasks.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")

Project = Callable[[dict[str, str]], Path]
SHARD_ROWS = 32


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose features the stage computed by itself."""
    root = write_detected(tmp_path_factory.mktemp("alone"))
    change_params(root, features={"shard_rows": SHARD_ROWS})
    features(Workspace(root), load_params(root / "params.yaml"))
    return root


@pytest.fixture
def root(alone: Path, tmp_path: Path) -> Path:
    """The same workspace before: of the features there is the exported network alone."""
    shutil.copytree(alone, tmp_path, dirs_exist_ok=True)
    workspace = Workspace(tmp_path)
    shutil.rmtree(workspace.features)
    return tmp_path


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """The cluster that a flow would start: two processes."""
    params = load_params().orchestrate.model_copy(update={"runner": "dask", "workers": 2})
    with LocalCluster(**task_runner(params).cluster_kwargs) as started:
        yield started


def _finished(root: Path) -> str:
    workspace, params = Workspace(root), load_params(root / "params.yaml")
    assert missing_shards(workspace, params) == []
    features(workspace, params)
    return _digest(root)


def _digest(root: Path) -> str:
    return digest(*folder_files(Workspace(root).features))


def test_two_dask_processes_write_what_the_stage_writes(
    alone: Path, root: Path, cluster: LocalCluster
) -> None:
    settings = {"runner": "dask", "dask_address": cluster.scheduler_address}
    change_params(root, orchestrate=settings)
    state = write_shards("features", root, load_params(root / "params.yaml").orchestrate)
    assert state.message == "features: 5 shards by 2 processes"
    assert _finished(root) == _digest(alone)


def test_two_threads_write_what_the_stage_writes(alone: Path, root: Path) -> None:
    change_params(root, orchestrate={"workers": 2})
    state = write_shards("features", root, load_params(root / "params.yaml").orchestrate)
    assert state.message == "features: 5 shards by 1 processes"
    assert _finished(root) == _digest(alone)


def test_a_cluster_of_a_flows_own_listens_on_the_loopback_only(cluster: LocalCluster) -> None:
    own = psutil.Process(os.getpid())
    listening = {
        connection.laddr.ip
        for process in [own, *own.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
