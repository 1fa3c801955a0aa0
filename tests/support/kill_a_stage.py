"""Stages in processes of their own, which may die half-way, for tests of what a rerun makes of it.

A process is forked from one that has imported what stages need, once for all tests: `python -m
tasks.<stage>` as a whole, which takes ten seconds of imports each time, is what DVC runs in the
flows' tests.
"""

import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest import mock

from tasks.base.stage_command import run_stage as run_command

_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = (
    "tasks.detect", "tasks.detection.training", "tasks.features", "tasks.ingest", "tasks.pretrain",
    "tasks.pretraining.training", "tasks.refresh", "tasks.views", "tests.support.kill_a_stage",
)  # fmt: skip
_CONTEXT.set_forkserver_preload(list(_PRELOADED))
_LOG = "stage.log"
WAIT_S = 600.0
"""Of a busy machine."""


def _run(root: Path, stage: str, log: str, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    os.chdir(root)
    with (root / log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # What pytest put in their place belongs to it.
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    run_command(getattr(importlib.import_module(f"tasks.{stage}"), stage), [])


def process(target: object, *arguments: object) -> ForkServerProcess:
    """A process that is to run a function of an importable module; not started."""
    # Two threads that OpenMP starts in each would fight for the tests' cores.
    with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):
        forkserver.ensure_running()
    return _CONTEXT.Process(target=target, args=arguments)  # type: ignore[arg-type]


@contextmanager
def _started(
    root: Path, stage: str, log: str = _LOG, **environment: str
) -> Iterator[ForkServerProcess]:
    child = process(_run, root, stage, log, environment)
    child.start()
    try:
        yield child
    finally:
        if child.is_alive():
            child.kill()
        child.join()


def run_stage(root: Path, stage: str) -> str:
    """Run a stage in `root` to its end; return what it printed."""
    with _started(root, stage) as child:
        child.join(WAIT_S)
        printed = (root / _LOG).read_text(encoding="utf-8")
        assert child.exitcode == 0, printed
    return printed


def run_ranks(root: Path, stage: str, count: int, port: int) -> None:
    """Run a stage in `root` in `count` processes, with the environment that `torchrun` gives."""
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(count):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count)}
        children.append(process(_run, root, stage, f"{rank}-{_LOG}", common | own))
    for child in children:
        child.start()
    for rank, child in enumerate(children):
        child.join(WAIT_S)
        assert child.exitcode == 0, (root / f"{rank}-{_LOG}").read_text(encoding="utf-8")


def kill_when(root: Path, stage: str, appears: str) -> None:
    """Start a stage in `root` and SIGKILL it as soon as a file that matches `appears` is there."""
    deadline = time.monotonic() + WAIT_S
    with _started(root, stage) as child:
        while not any(root.glob(appears)):
            assert child.is_alive(), f"{stage} ended before {appears} was there"
            assert time.monotonic() < deadline, f"{appears} does not come"
            time.sleep(0.01)
        child.kill()
        child.join()
    assert child.exitcode == -9
