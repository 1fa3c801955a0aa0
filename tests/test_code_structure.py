"""The house: who may import whom, what each DVC stage depends on, how large a room may be."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tasks.base.import_closure import import_closure

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "prefect", "dvc", "onnx", "great_expectations", "tasks")
PIPELINES = ("dvc.yaml", "ablation/dvc.yaml")
ROOTS = {"tasks/__init__.py", "models/__init__.py", "unbundle/__init__.py"}
"""Telemetry switched off, and lazy names for shops: nothing that a stage's outputs depend on."""


def stages() -> dict[str, tuple[str, list[str]]]:
    """Module and deps of every stage, by its name."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    path = params["catalogue"]["path"]
    found = {}
    for file in PIPELINES:
        text = (REPOSITORY / file).read_text(encoding="utf-8").replace("${catalogue.path}", path)
        for name, stage in yaml.safe_load(text)["stages"].items():
            stage = stage.get("do", stage)
            found[name] = stage["cmd"].split()[2], stage["deps"]
    return found


STAGES = stages()


def test_an_import_against_the_order_breaks_a_contract(tmp_path: Path) -> None:
    # That they hold as things stand is what `make check` looks at.
    wrong = {
        "tasks.data.photo_checks": "tasks.promotion.gate",
        "tasks.watch": "tasks.views",
        "unbundle.vision.boxes": "unbundle.index.columns",
        "flows.reporting.plots": "flows.watch",
        "tasks.monitoring.drift": "tasks.monitoring.drift_report",
    }
    for name in ("unbundle", "tasks", "models", "flows"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for module, imported in wrong.items():
        with tmp_path.joinpath(*module.split(".")).with_suffix(".py").open("a") as file:
            file.write(f"\n\ndef wrong():\n    import {imported}\n")
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    *ordered, (circular, _) = wrong.items()
    for one, other in ordered:
        assert f"- {one} -> {other} " in done.stdout
    assert f"No cycles are allowed in {circular.rpartition('.')[0]}." in done.stdout


def test_a_shop_loads_nothing_that_only_training_needs() -> None:
    program = (
        "import sys, unbundle.cli, unbundle.query.search; "
        "import unbundle.terminal.answer_picture, unbundle.terminal.doctor; "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_that_it_runs(stage: str) -> None:
    module, deps = STAGES[stage]
    files = [file.relative_to(REPOSITORY) for file in import_closure(module).values()]
    covered = {*deps, *ROOTS}
    assert [path for path in files if covered.isdisjoint(map(str, (path, *path.parents)))] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_wing_that_it_does_not_run(stage: str) -> None:
    module, deps = STAGES[stage]
    run = {str(file.relative_to(REPOSITORY)) for file in import_closure(module).values()}
    wings = [dep for dep in deps if dep.startswith(("tasks/", "models/", "unbundle/"))]
    assert [wing for wing in wings if not any(path.startswith(wing) for path in run)] == []


def test_the_closure_is_what_python_loads() -> None:
    module = "tasks.evaluate"
    program = (
        f"import sys, {module}; "
        "print(*[name for name in sys.modules if name.split('.')[0] in "
        "('tasks', 'models', 'unbundle')])"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= set(import_closure(module))


def test_a_module_that_is_imported_within_a_function_is_in_the_closure() -> None:
    assert "tasks.detection.training" in import_closure("tasks.detect")


CHANGED = ("tasks/synthesis/pasting.py", "unbundle/vision/imaging.py")


@pytest.fixture(scope="module")
def changed_comments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `dvc status` says by stage, in a project whose lock was made by `dvc commit`."""
    from tests.support.project_clone import clone

    root = clone(tmp_path_factory.mktemp("house"))
    # Outputs that no stage made are as good as others: only deps are asked about.
    for stage in yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values():
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]:
            path = root / (out if isinstance(out, str) else next(iter(out)))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("given\n", encoding="utf-8")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "commit", "--force", "--quiet", "dvc.yaml"], cwd=root, check=True)
    for module in CHANGED:
        with (root / module).open("a", encoding="utf-8") as file:
            file.write("# a comment\n")
    told = subprocess.run(
        [*dvc, "status", "dvc.yaml"], cwd=root, capture_output=True, text=True, check=True
    )
    return {block.partition(":")[0]: block for block in re.split(r"(?m)^(?=\S)", told.stdout)}


@pytest.mark.parametrize(
    ("module", "inside", "outside"),
    [
        (CHANGED[0], {"compose_queries", "detect", "views"}, {"catalogue", "validate"}),
        (
            CHANGED[1],
            {"compose_queries", "detect", "features", "views", "export", "ingest", "evaluate"},
            {"catalogue", "validate"},
        ),
    ],
)
def test_a_changed_comment_names_the_stages_that_run_it(
    module: str, inside: set[str], outside: set[str], changed_comments: dict[str, str]
) -> None:
    wing = str(Path(module).parent)
    named = {stage for stage, block in changed_comments.items() if wing in block}
    assert inside <= named
    assert not outside & named
    assert named == {
        stage
        for stage, (_, deps) in STAGES.items()
        if stage not in ("variant", "table") and wing in deps
    }


def test_rooms_are_small_enough_to_be_looked_through() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    files = [Path(line) for line in listed.stdout.splitlines() if (REPOSITORY / line).is_file()]
    rooms = Counter(str(path.parent) for path in files if path.name != "__init__.py")
    most = {"tasks/demo": 20}
    assert {room: count for room, count in rooms.items() if count > most.get(room, 15)} == {}


def test_commands_are_short() -> None:
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (REPOSITORY / "tasks").glob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 150} == {}
