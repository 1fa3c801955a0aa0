import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.running.dvc import BusyError, DvcError, StoppedError, run_dvc
from tasks.base.params import load_params
from tests.support.stage_that_lasts import LASTING, running

Project = Callable[[dict[str, str]], Path]

PATIENT = load_params().orchestrate.model_copy(
    update={"busy_wait_s": 30, "busy_pause_s": 0.2, "stop_grace_s": 10}
)
HASTY = PATIENT.model_copy(update={"busy_wait_s": 0.1, "busy_pause_s": 0.1, "stop_grace_s": 0.5})

FINE = "print('some words'); open('one.out', 'w').write('1')"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LASTING


def repro(stage: str) -> list[str]:
    return ["repro", "--single-item", stage]


class Pids:
    """A log that notes the processes of a lasting stage, and then does something."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.pids: list[int] = []
        self.then = then

    def __call__(self, line: str) -> None:
        if line.startswith("pids "):
            self.pids = [int(word) for word in line.split()[1:]]
            self.then()


@contextmanager
def other_dvc(root: Path, stage: str) -> Iterator["subprocess.Popen[str]"]:
    """Another DVC command that is in the middle of a stage that waits for a file `go`."""
    command = [sys.executable, "-m", "dvc", *repro(stage)]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("waiting"):
                break
        yield process
        (root / "go").touch()
        process.communicate()


WAITING = """
import pathlib, time
print('waiting', flush=True)
while not pathlib.Path('go').exists(): time.sleep(0.05)
open('one.out', 'w').write('1')
"""


def test_lines_arrive_and_a_second_run_does_nothing(project: Project) -> None:
    root = project({"one": FINE})
    lines: list[str] = []
    assert run_dvc(repro("one"), root, PATIENT, lines.append)
    assert "some words" in lines
    assert not [line for line in lines if not line or "dvc push" in line]
    assert (root / "one.out").read_text() == "1"
    lines.clear()
    assert not run_dvc(repro("one"), root, PATIENT, lines.append)
    assert "some words" not in lines


def test_a_failing_stage_is_quoted(project: Project) -> None:
    root = project({"one": "print('begins'); print('ERROR: row 3: bad'); raise SystemExit(4)"})
    lines: list[str] = []
    with pytest.raises(DvcError) as caught:
        run_dvc(repro("one"), root, PATIENT, lines.append)
    assert str(caught.value) == ("ERROR: row 3: bad (failed to run: python one.py, exited with 4)")
    assert "begins" in lines


def test_a_missing_input_says_what_to_do(project: Project) -> None:
    root = project({"one": f"# needs: two.out\n{FINE}"})
    with pytest.raises(DvcError, match=r"two\.out: missing; run the stage that makes it first$"):
        run_dvc(repro("one"), root, PATIENT, print)


def test_a_stage_knows_nothing_of_the_flow(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = "import json, os, sys\njson.dump([sys.executable, *os.environ], open('one.out', 'w'))"
    root = project({"one": tell})
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "1")
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    run_dvc(repro("one"), root, PATIENT, print)
    executable, *names = json.loads((root / "one.out").read_text())
    assert not [name for name in names if name.startswith("PREFECT")]
    assert "DVC_NO_ANALYTICS" in names
    assert Path(executable).parent == Path(sys.executable).parent


def test_a_busy_workspace_is_waited_for(project: Project) -> None:
    root = project({"one": WAITING})
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if "waiting for it" in line:
            (root / "go").touch()

    with other_dvc(root, "one") as other:
        run_dvc(repro("one"), root, PATIENT, log)
    waits = [line for line in lines if "waiting for it" in line]
    assert f"used by another DVC command (PID {other.pid}); waiting" in waits[0]
    assert not [line for line in lines if line.startswith("ERROR")]


def test_a_workspace_that_stays_busy_is_refused(project: Project) -> None:
    root = project({"one": WAITING})
    with other_dvc(root, "one") as other, pytest.raises(BusyError) as caught:
        run_dvc(repro("one"), root, HASTY, print)
    assert str(caught.value) == (
        f"{root}: used by another DVC command (PID {other.pid}) for 0.1 s; let it end or stop it, "
        "then run this again"
    )


@pytest.mark.parametrize("script", [LASTING, DEAF], ids=["polite", "deaf"])
def test_an_exception_stops_every_process(project: Project, script: str) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    log = Pids(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_dvc(repro("one"), project({"one": script}), HASTY, log)
    assert len(log.pids) == 2
    assert running(log.pids) == []


def test_another_thread_can_stop_it(project: Project) -> None:
    stop = threading.Event()
    log = Pids(stop.set)
    root = project({"one": LASTING})
    with pytest.raises(StoppedError):
        run_dvc(repro("one"), root, PATIENT, log, stop)
    assert len(log.pids) == 2
    assert running(log.pids) == []
    (root / "one.py").write_text(FINE)
    assert run_dvc(repro("one"), root, HASTY, print), "the workspace is free again"
