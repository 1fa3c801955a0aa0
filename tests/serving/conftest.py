import pytest
from served import serve

from tasks.workspace import Workspace


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A served world, not to be changed."""
    return serve(tmp_path_factory.mktemp("served"))
