"""The whole pipeline at `scale: tiny`, by the flow that a night would run.  pytest -m pipeline"""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tests.support.project_clone import change_params
from unbundle.index.milvus_database import CHAMPION, Database

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("prefect_server")]


def champion(root: Path) -> str | None:
    with Database(str(Workspace(root).milvus)) as database:
        return database.target(CHAMPION)


def test_retrain_ends_in_a_promotion(root: Path, promoted: Any) -> None:
    assert promoted.name == "Promoted", promoted.message
    collection = json.loads(Workspace(root).receipt.read_text())["collection"]
    assert promoted.message.startswith(f"{collection}: promoted: all ")
    assert champion(root) == collection


def test_it_leaves_figures_of_every_stage_and_the_decision(left: Any, promoted: Any) -> None:
    artifacts = left(promoted)
    stages = ("validate", "detect", "pretrain", "export", "ingest", "evaluate")
    assert {f"{stage}-figures" for stage in stages} <= set(artifacts)
    assert {f"{stage}-report" for stage in stages if stage not in ("export", "ingest")} <= set(
        artifacts
    )
    assert "| CAPTURE |" in artifacts["retrieval-comparison"]
    assert all(rule["holds"] for rule in json.loads(artifacts["gate"]))


def test_a_second_run_changes_nothing(root: Path, promoted: Any) -> None:
    from flows.retrain import retrain

    before = champion(root)
    state = retrain(root, return_state=True)
    assert (state.name, champion(root)) == ("Promoted", before)
    assert "unchanged" in state.message


def test_a_refused_candidate_is_no_failure_and_changes_nothing(
    root: Path, left: Any, promoted: Any
) -> None:
    from flows.evaluate import evaluate
    from flows.single_stage_flows import ingest

    before = champion(root)
    # Another title in the gallery makes another collection.
    manifest = read_manifest(Workspace(root).manifest)
    manifest.loc[manifest.index[manifest["split"] == "gallery"][0], "caption"] = "面霜"
    manifest.to_parquet(Workspace(root).manifest)
    change_params(root, promote={"min_coverage": 1.0})
    assert ingest(root, return_state=True).name == "Completed"
    state = evaluate(root, return_state=True)
    assert (state.type.value, state.name) == ("COMPLETED", "Rejected")
    assert f"{before} serves as before" in state.message
    assert champion(root) == before
    assert not all(rule["holds"] for rule in json.loads(left(state)["gate"]))
