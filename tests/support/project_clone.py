"""Clones of the project in which stages really run."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
OURS = (
    ".dvcignore",
    ".gitignore",
    "ablation",
    "dvc.yaml",
    "params.yaml",
    "flows",
    "infra",
    "models",
    "unbundle",
    "tasks",
)


def clone(folder: Path, tiny: bool = True) -> Path:
    """The project in a Git repository of its own, without what stages made.

    Args:
        folder: that it is copied into.
        tiny: at `scale: tiny`; else with `params.yaml` as it ships, to the byte.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in OURS:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    if tiny:
        change_params(folder, scale="tiny")
    git(folder, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=folder, check=True)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "clone")
    return folder


def git(folder: Path, *arguments: str) -> None:
    """Run git as nobody in particular."""
    person = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *person, *arguments], cwd=folder, check=True)


def change_params(folder: Path, **changes: Any) -> None:
    """Set values of `params.yaml`; a section's are merged."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        params[name] = params[name] | value if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
