"""Stages that die half-way, for tests of what a rerun makes of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run_stage(root: Path, stage: str) -> str:
    """Run `python -m tasks.<stage>` in `root` to its end; return what it printed."""
    command = [sys.executable, "-m", f"tasks.{stage}"]
    done = subprocess.run(command, cwd=root, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_when(root: Path, stage: str, appears: str) -> None:
    """Start a stage in `root` and SIGKILL it as soon as a file that matches `appears` is there."""
    command = [sys.executable, "-m", f"tasks.{stage}"]
    with subprocess.Popen(command, cwd=root, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        while not any(root.glob(appears)):
            assert process.poll() is None, f"{stage} ended before {appears} was there"
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -9
