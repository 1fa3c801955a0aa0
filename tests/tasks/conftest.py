"""A workspace whose features and views are computed once for all tests of what follows them."""

from pathlib import Path

import pytest

from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.features import features
from tasks.views import views
from tests.support.detected_workspace import add_queries, write_detected


@pytest.fixture(scope="session")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after stage `views`, with a gallery and queries; a test works on a copy."""
    root = write_detected(tmp_path_factory.mktemp("viewed"))
    add_queries(root)
    workspace, params = Workspace(root), load_params(root / "params.yaml")
    features(workspace, params)
    views(workspace, params)
    return root
