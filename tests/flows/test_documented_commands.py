"""Every command and every snippet of README and docs, run in a clone after a run of it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.index.ingestion_receipt import Receipt
from tasks.ingest import ingest
from unbundle.index.milvus_database import Database

pytestmark = pytest.mark.pipeline

REPOSITORY = Path(__file__).parents[2]
# Commands that speak of a running service, of a second clone or of a Prefect server are run beside
# those: in tests/unbundle/http, and by section of operations.md.
ELSEWHERE = ("clients.md", "operations.md", "serving.md")
PAGES = [
    REPOSITORY / "README.md",
    *(page for page in sorted((REPOSITORY / "docs").glob("*.md")) if page.name not in ELSEWHERE),
]
# `make demo` and `make test` are what CI runs; the flow is what walked the clone; a Prefect server
# and its deployments are in test_nights.
RUN_ELSEWHERE = ("make ", "prefect ", "python -m flows.retrain")


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block in a language."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += [
            (page.name, block) for block in re.findall(rf"```{language}\n(.*?)```", text, re.S)
        ]
    return found


COMMANDS = [
    line.split("  #")[0].strip()
    for _, block in blocks("sh")
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.fixture(scope="module")
def reader(walked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the walked clone, with a photo to ask about and another index that serves."""
    root = Path(shutil.copytree(walked, tmp_path_factory.mktemp("reader"), dirs_exist_ok=True))
    workspace = Workspace(root)
    manifest = read_manifest(workspace.manifest)
    queries = manifest.query("split == 'test'")
    shutil.copyfile(workspace.catalogue / queries["image"].iloc[0], root / "photo.jpg")
    # Without a row it is another index: there is something to promote over, and to go back to.
    before = Workspace(tmp_path_factory.mktemp("before"))
    for folder in (workspace.catalogue, workspace.bundle):
        shutil.copytree(folder, before.root / folder.relative_to(root))
    fewer = manifest.drop(manifest.index[manifest["split"] == "gallery"][-1])
    fewer.to_parquet(before.manifest, index=False)
    params = load_params(root / "params.yaml")
    here = params.ingest.model_copy(update={"uri": str(workspace.milvus)})
    ingest(before, params.model_copy(update={"ingest": here}))
    with Database(str(workspace.milvus)) as database:
        database.promote(Receipt.read(before.receipt).collection)
    return root


def run(root: Path, command: list[str]) -> None:
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for command in COMMANDS:
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.M), command


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(RUN_ELSEWHERE)])
def test_a_command_of_the_documentation_runs(reader: Path, command: str) -> None:
    run(reader, shlex.split(command.replace("/path/to/catalogue", "mine")))


@pytest.mark.parametrize(("page", "snippet"), blocks("python"))
def test_a_snippet_of_the_documentation_runs(reader: Path, page: str, snippet: str) -> None:
    run(reader, [sys.executable, "-c", snippet])
