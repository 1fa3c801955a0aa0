import pytest

from tasks.base.workspace import Workspace
from tests.support.served_catalogue import serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A served world, not to be changed."""
    return serve(tmp_path_factory.mktemp("served"))
