"""The image's build steps, run without an engine: its COPY and RUN lines in a folder of their own.

What only an engine can do (the final stage's user and health check) is linted, see `make check`.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.workspace import Workspace
from tests.support.dockerfile import instructions

REPOSITORY = Path(__file__).parents[2]
TARGET = "/opt/unbundle"
IMPORT_SECONDS = 2.0  # of CPU; the issue's own bound

pytestmark = pytest.mark.slow


def run(command: list[str] | str, folder: Path, **environment: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Not PYTHONPATH and its like: the image has none of this checkout.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | {"PATH": path} | environment,
        shell=isinstance(command, str),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the first stage makes, `/opt/unbundle` of the image."""
    root = tmp_path_factory.mktemp("image")
    source, target = root / "src", root / "unbundle"
    source.mkdir()
    for name, rest in instructions()[0]:
        if name == "COPY":
            *origins, place = shlex.split(rest)
            for origin in origins:
                path = REPOSITORY / origin
                if path.is_dir():
                    shutil.copytree(path, source / place)
                else:
                    shutil.copy(path, source / place)
        elif name == "RUN":
            # Compiling all that is installed takes longest; imports compile what they need.
            run(rest.replace(TARGET, str(target)), source, PIP_NO_COMPILE="1")
    yield target
    shutil.rmtree(root)


def test_the_image_has_no_package_that_only_training_needs(image: Path, tmp_path: Path) -> None:
    absent = ("torch", "transformers", "prefect", "dvc", "tasks", "models", "flows")
    program = (
        "import importlib.util as u; "
        f"print(*[name for name in {absent!r} if u.find_spec(name) is not None])"
    )
    assert run([str(image / "bin/python"), "-c", program], tmp_path).split() == []


def test_serving_imports_in_two_seconds_of_processor_time(image: Path, tmp_path: Path) -> None:
    # The interpreter's own start counts, too.
    program = (
        "import os; import unbundle; unbundle.ProductSearch; "
        "print(os.times().user + os.times().system)"
    )
    # The first import compiles; the second is what a start costs.
    seconds = [float(run([str(image / "bin/python"), "-c", program], tmp_path)) for _ in range(3)]
    assert min(seconds) <= IMPORT_SECONDS


def test_the_commands_of_the_image_answer_a_query(image: Path, served: Workspace) -> None:
    command = str(image / "bin/unbundle")
    assert "serve" in run([command, "--help"], served.root)
    photo = str(served.root / "data/catalogue/images/q.png")
    answer = json.loads(run([command, "query", photo, "--title=red", "--json"], served.root))
    labels = {instance["hits"][0]["label"] for instance in answer["instances"]}
    assert labels == {"product-0", "product-1", "product-2"}
