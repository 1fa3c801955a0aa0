"""What `.ci/run` costs at some commits, installing included, as processor time.

    python -m benchmarks.ci_cost ea98dc0 HEAD --folder /tmp/ci

Each commit is cloned into the folder and its `.ci/run` runs there, from an empty environment, one
after the other. Counted is the processor time of the whole process tree: this process becomes the
reaper of all that its children leave behind (`PR_SET_CHILD_SUBREAPER`), so that servers that were
started by tests and outlived them count as well. A commit that was measured is not measured again
(`<commit>.json` in the folder); its log stands beside.
"""

import ctypes
import json
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer

REPOSITORY = Path(__file__).parents[1]
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(
    commits: Annotated[list[str], typer.Argument(help="the first is what others compare with")],
    folder: Annotated[Path, typer.Option(help="for clones, logs and results")] = Path("/tmp/ci"),
) -> None:
    """Measure the commits that are not measured yet and print the table of all."""
    folder.mkdir(parents=True, exist_ok=True)
    results = [measured(folder, _full(commit)) for commit in commits]
    first = results[0]["processor_s"]
    print("| commit | processor time | wall | exit | ratio |\n| --- | --- | --- | --- | --- |")
    for result in results:
        print(
            f"| {result['commit'][:7]} | {result['processor_s']:.0f} s | {result['wall_s']:.0f} s"
            f" | {result['exit']} | {result['processor_s'] / first:.2f} |"
        )


def measured(folder: Path, commit: str) -> dict[str, float | str]:
    """`processor_s`, `wall_s` and `exit` of `.ci/run` at `commit`, from the folder or measured."""
    kept = folder / f"{commit}.json"
    if not kept.exists():
        clone = folder / commit[:7]
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
        subprocess.run(["git", "checkout", "--quiet", commit], cwd=clone, check=True)
        # In a child, since a process cannot subtract what its earlier children took.
        child = os.fork()
        if child == 0:
            _measure(clone, folder / f"{commit}.log", kept)
            os._exit(0)
        os.waitpid(child, 0)
    result: dict[str, float | str] = json.loads(kept.read_text())
    return {"commit": commit, **result}


def _measure(clone: Path, log: Path, kept: Path) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)
    start = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [".ci/run"], cwd=clone, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        code = _wait_for(process)
    wall = time.monotonic() - start
    _reap_orphans()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {"processor_s": used.ru_utime + used.ru_stime, "wall_s": wall, "exit": code}
    kept.write_text(json.dumps(result))


def _wait_for(process: "subprocess.Popen[bytes]") -> int:
    """Its exit code; orphans are reaped meanwhile, or DVC would take their locks for held ones."""
    while True:
        ended, status = os.wait()
        if ended == process.pid:
            return os.waitstatus_to_exitcode(status)


def _reap_orphans() -> None:
    """Wait for what the run left behind; what does not end by itself within a minute is ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.2)
        except ChildProcessError:
            return
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for child in children:
        os.kill(int(child), 9)
        os.waitpid(int(child), 0)


def _full(commit: str) -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip()


if __name__ == "__main__":
    typer.run(main)
