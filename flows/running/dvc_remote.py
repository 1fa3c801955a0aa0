"""What a scheduled training shares with others: data before it, outputs after it."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.running.dvc import DvcError, run_dvc
from tasks.base.params import load_params
from unbundle.base.errors import UserError


@task(task_run_name="pull", cache_policy=NO_CACHE)
def pull_data(root: Path) -> State[None]:
    """Bring data that DVC tracks (`*.dvc`) up to date: imports from their source, others pulled.

    Args:
        root: folder of `dvc.yaml`.
    """
    tracked = [path for path in root.rglob("*.dvc") if path.is_file() and ".dvc" not in path.parts]
    imports = [path for path in tracked if "deps" in yaml.safe_load(path.read_text("utf-8"))]
    commands = [["update", *_names(imports, root)]] if imports else []
    others = sorted(set(tracked) - set(imports))
    if others and _has_remote(root):
        commands.append(["pull", *_names(others, root)])
    return _run(root, commands, "no data that DVC tracks")


@task(task_run_name="push", cache_policy=NO_CACHE)
def push_outputs(root: Path) -> State[None]:
    """Push the outputs of every stage where a remote is set.

    Args:
        root: folder of `dvc.yaml`.
    """
    return _run(root, [["push"]] if _has_remote(root) else [], "no DVC remote is set")


def _names(paths: Sequence[Path], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in sorted(paths)]


def _has_remote(root: Path) -> bool:
    lines: list[str] = []
    run_dvc(["remote", "list"], root, load_params(root / "params.yaml").orchestrate, lines.append)
    return any(line.strip() for line in lines)


def _run(root: Path, commands: list[list[str]], nothing: str) -> State[None]:
    try:
        params = load_params(root / "params.yaml").orchestrate
        for command in commands:
            run_dvc(command, root, params, get_run_logger().info)
    except UserError as error:
        return Failed(message=str(error))
    except DvcError as error:
        return Failed(message=f"dvc {command[0]}: {error}; check the remote, then run this again")
    return Completed(message=", ".join(command[0] for command in commands) or nothing)
