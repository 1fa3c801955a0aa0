"""A Prefect server for the session, and throw-away DVC projects."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import flows  # noqa: F401  (turns Prefect's usage tracking off before Prefect is imported)
from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.catalogue import catalogue
from tests.support.project_clone import change_params, clone, git

REPOSITORY = Path(__file__).parents[2]
Project = Callable[[dict[str, str]], Path]


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A process that a shell started in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_RESULTS_LOCAL_STORAGE_PATH,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    settings = {
        # Ending a flow joins the heartbeat's thread, which sleeps in steps of a second.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_RESULTS_LOCAL_STORAGE_PATH: tmp_path_factory.mktemp("results"),
    }
    with prefect_test_harness(300), temporary_settings(settings):
        yield


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dvc")
    command = [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"]
    subprocess.run(command, cwd=folder, check=True)
    return folder


@pytest.fixture
def project(tmp_path: Path, empty_project: Path) -> Project:
    """Make a DVC project of scripts: stage `one` runs `one.py`, which has to write `one.out`.

    A script may begin with `# needs:` and names of files.
    """

    def make(scripts: dict[str, str]) -> Path:
        shutil.copytree(empty_project, tmp_path, dirs_exist_ok=True)
        stages = {}
        for name, script in scripts.items():
            first = script.partition("\n")[0]
            needs = first.removeprefix("# needs:").split() if first.startswith("# needs:") else []
            (tmp_path / f"{name}.py").write_text(script)
            stages[name] = {
                "cmd": f"python {name}.py",
                "deps": [f"{name}.py", *needs],
                "outs": [f"{name}.out"],
            }
        (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        params["orchestrate"] |= {"busy_wait_s": 1, "busy_pause_s": 0.5, "stop_grace_s": 10}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        return tmp_path

    return make


@pytest.fixture(scope="session")
def left() -> Callable[[Any], dict[str, Any]]:
    """What the flow run that ended in a state left: the data of its artifacts by key."""

    def read(state: Any) -> dict[str, Any]:
        from prefect import get_client
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
        with get_client(sync_client=True) as client:
            found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=run))
        return {artifact.key: artifact.data for artifact in found}

    return read


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_params: Params) -> Path:
    """A clone of the project at `scale: tiny`, of a shop's own catalogue in its folder `mine`.

    The catalogue is the demo's, so what the README's command for one's own catalogue would make is
    what the flow has made already, and no test walks the pipeline a second time.
    """
    folder = clone(tmp_path_factory.mktemp("clone"))
    rendered = Workspace(tmp_path_factory.mktemp("rendered"))
    catalogue(rendered, tiny_params)
    shutil.copytree(rendered.catalogue, folder / "mine")
    change_params(folder, catalogue={"source": "folder", "path": "mine"})
    git(folder, "add", "params.yaml")
    git(folder, "commit", "--quiet", "--message", "a catalogue of one's own")
    return folder


@pytest.fixture(scope="session")
def promoted(root: Path, prefect_server: None) -> Any:
    """The state in which the flow `retrain` ended in the clone."""
    from flows.retrain import retrain

    return retrain(root, return_state=True)


@pytest.fixture(scope="session")
def walked(root: Path, promoted: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone as the flow left it, committed with its `dvc.lock`."""
    assert promoted.name == "Promoted", promoted.message
    folder = tmp_path_factory.mktemp("walked")
    shutil.copytree(root, folder, dirs_exist_ok=True)
    git(folder, "add", "dvc.lock")
    git(folder, "commit", "--quiet", "--message", "walked")
    return folder
