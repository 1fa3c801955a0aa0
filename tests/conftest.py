"""Fixtures that every room may use."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings

from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tests.support.served_catalogue import serve
from tests.support.tiny_model_bundle import write_bundle

ROOT = Path(__file__).parents[1]

# The pipeline is no installed package: commands that tests start elsewhere find it here.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

# On a shared machine the time of one example says nothing.
settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the page's tests."""
    parser.addoption(
        "--require-browser", action="store_true", help="Fail, not skip, where Chromium is missing."
    )
    parser.addoption(
        "--screenshots", type=Path, help="Where to write the pictures of docs/; after `make demo`."
    )


@pytest.fixture(scope="session")
def tiny_params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    """The project's `params.yaml` at `scale: tiny`."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(yaml.safe_dump(raw | {"scale": "tiny"}), encoding="utf-8")
    return load_params(path)


@pytest.fixture(scope="session")
def datasets() -> Path:
    """Real data sets beside the checkout; they are no part of the project."""
    folder = ROOT.parent / "shared/datasets"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the real data sets are not part of the project")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle's folder, not to be changed."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A served world, not to be changed; tests that change one take a copy (`served.copied`)."""
    return serve(tmp_path_factory.mktemp("served"))


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests talk to the Milvus they start, whatever the shell's environment names."""
    for name in ("MILVUS_URI", "MILVUS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the flows' tests last.

    The threads of Prefect's server draw from `random`, which hypothesis takes for a strategy that
    does.
    """
    items.sort(key=lambda item: "flows" in item.path.parts)
