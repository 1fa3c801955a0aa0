import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stage_that_lasts import LASTING, running

pytestmark = pytest.mark.usefixtures("prefect_server")

REPOSITORY = Path(__file__).parents[2]
Project = Callable[[dict[str, str]], Path]

# Each stage counts its runs in the file `runs`.
COUNTED = "open('runs', 'a').write('{0} '); open('{0}.out', 'w').write('1')"


def counted(*names: str) -> dict[str, str]:
    return {name: COUNTED.format(name) for name in names}


def test_usage_tracking_is_off() -> None:
    from prefect.settings import get_current_settings

    assert get_current_settings().server.analytics_enabled is False
    assert os.environ["DO_NOT_TRACK"] == "1"


def test_retrain_walks_the_road_of_dvc() -> None:
    from flows.retrain import PIPELINE

    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
    assert list(PIPELINE) == list(pipeline["stages"])


def test_a_promotion_without_an_ingestion_says_what_to_do(project: Project) -> None:
    from flows.evaluate import evaluate

    root = project(counted("evaluate"))
    state = evaluate(root, return_state=True)
    assert (root / "runs").read_text() == "evaluate "
    receipt = root / "artifacts/ingestion.json"
    assert (state.name, state.message) == (
        "Failed",
        f"{receipt}: no such file; run `dvc repro ingest`",
    )


def test_a_flow_runs_its_own_stages_once(project: Project) -> None:
    from flows.single_stage_flows import validate

    root = project(counted("catalogue", "validate", "detect"))
    state = validate(root, return_state=True)
    assert (state.name, state.message) == ("Completed", "catalogue ran, validate ran")
    state = validate(root, return_state=True)
    assert state.message == "catalogue was up to date, validate was up to date"
    assert (root / "runs").read_text().split() == ["catalogue", "validate"]


def test_a_stage_leaves_its_figures_and_its_report(project: Project, left: Any) -> None:
    from flows.single_stage_flows import detect

    script = """
import json, pathlib
for name in ('metrics', 'reports/detection'): pathlib.Path(name).mkdir(parents=True)
json.dump({'AP': {'50': 0.75}, 'queries': 8}, open('metrics/detection.json', 'w'))
open('reports/detection/predictions.png', 'wb').write(b'png')
open('detect.out', 'w').write('1')
"""
    root = project(counted("compose_queries") | {"detect": script})
    artifacts = left(detect(root, return_state=True))
    assert json.loads(artifacts["detect-figures"]) == [
        {"figure": "AP.50", "value": 0.75},
        {"figure": "queries", "value": 8},
    ]
    assert (root / "reports/detection").as_uri() in artifacts["detect-report"]
    assert artifacts["detect-predictions"].startswith("data:image/png;base64,")


def test_a_log_line_names_run_stage_and_version(project: Project) -> None:
    from flows.single_stage_flows import validate

    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    logger = logging.getLogger("prefect.task_runs")
    logger.addHandler(handler)
    try:
        validate(project(counted("catalogue", "validate")), return_state=True)
    finally:
        logger.removeHandler(handler)
    spoken = [line for line in lines if hasattr(line, "stage")]
    assert {line.stage for line in spoken} == {"catalogue", "validate"}  # type: ignore[attr-defined]
    assert {line.version for line in spoken} == {version("unbundle")}  # type: ignore[attr-defined]
    assert all(line.flow_run_id for line in spoken)  # type: ignore[attr-defined]


def test_a_failing_stage_ends_the_flow_with_its_last_words(project: Project) -> None:
    from flows.single_stage_flows import pretrain

    root = project({"features": "raise SystemExit('row 3: bad')", **counted("pretrain")})
    state = pretrain(root, return_state=True)
    assert (state.name, state.message) == (
        "Failed",
        "stage features: row 3: bad (failed to run: python features.py, exited with 1); "
        "repair it, then run this flow again",
    )
    assert not (root / "runs").exists()


def test_a_mistake_in_the_params_is_one_line(project: Project) -> None:
    from flows.single_stage_flows import export

    root = project(counted("export"))
    (root / "params.yaml").write_text("scale: huge")
    message = export(root, return_state=True).message
    assert message == f"{root}/params.yaml: scale: expected one of tiny, demo, full"


def test_stages_run_on_a_task_runners_threads(project: Project) -> None:
    from prefect import flow

    from flows.running.dvc_stage_task import dvc_stage

    root = project({"one": "import os\nopen('one.out', 'w').write(' '.join(os.environ))"})

    @flow
    def submitting() -> None:
        dvc_stage.submit("one", root).result()

    submitting()
    assert "PREFECT" not in (root / "one.out").read_text()


SUBMITTING = """
from pathlib import Path
from flows.running.dvc_stage_task import dvc_stage
from flows.running.run_from_terminal import run_flow
from prefect import flow

@flow
def submitting(root: Path = Path()):
    dvc_stage.submit("detect", root).result()

run_flow(submitting)
"""


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (["-m", "flows.single_stage_flows", "detect"], signal.SIGTERM),
        (["-c", SUBMITTING], signal.SIGINT),
    ],
    ids=["terminated", "interrupted on a thread"],
)
def test_a_stopped_flow_leaves_no_process(
    project: Project, command: list[str], number: signal.Signals
) -> None:
    from prefect.settings import get_current_settings

    root = project(counted("compose_queries") | {"detect": LASTING})
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=root,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as flow:
        assert flow.stdout is not None
        told = next(line for line in flow.stdout if "pids " in line)
        flow.send_signal(number)
        rest, _ = flow.communicate(timeout=60)
    pids = [int(word) for word in told.rpartition("pids ")[2].split()]
    assert running(pids) == []
    assert flow.returncode == 128 + number
    assert "Finished in state Crashed" in rest
