"""Imports point one way, and what runs in a shop imports nothing that only training needs."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "prefect", "dvc", "onnx", "great_expectations", "tasks")


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_serving_loads_nothing_that_only_training_needs() -> None:
    program = (
        "import sys, unbundle.cli, unbundle.query.search; "
        "import unbundle.terminal.answer_picture, unbundle.terminal.doctor; "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
