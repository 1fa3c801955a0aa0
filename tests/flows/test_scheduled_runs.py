"""A real server, a real process worker and the registry's deployments, on a tiny world."""

import json
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tasks.base.workspace import Workspace
from tests.support.changing_catalogue import Shop, labels
from tests.support.project_clone import change_params
from tests.support.scheduled_project import Night, give_bundle, night, write_project
from tests.support.tiny_model_bundle import scene
from unbundle import ProductSearch
from unbundle.index.milvus_database import CHAMPION, Database

pytestmark = pytest.mark.nights

RETRAIN = "retrain/retrain"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return write_project(tmp_path_factory.mktemp("nights"))


@pytest.fixture(scope="module")
def running(shop: Shop) -> Iterator[Night]:
    with night(shop.workspace.root) as started:
        yield started


def champion(workspace: Workspace) -> str | None:
    with Database(str(workspace.milvus)) as database:
        return database.target(CHAMPION)


def first(workspace: Workspace, number: int) -> str:
    """What a client finds with a photo of product `number`."""
    with ProductSearch(workspace.bundles, str(workspace.milvus), threads=1) as search:
        return search(scene([number]), k=1).instances[0].hits[0].id


def test_a_schedule_fires_and_the_index_follows_the_source(shop: Shop, running: Night) -> None:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.client.schemas.schedules import IntervalSchedule

    shop.add("n40", 40)
    shop.draw("g1-0", 41)
    del shop.rows["g2-2"]
    shop.save()
    client = running.client
    refresh = client.read_deployment_by_name("refresh/refresh").id
    assert [str(one.schedule.timezone) for one in client.read_deployment(refresh).schedules] == [
        "Asia/Shanghai"
    ]
    # Beside the hourly one; it goes when its first run is there. Not more often than a slow machine
    # can run it: every run that is late would be waited for.
    often = IntervalSchedule(interval=timedelta(seconds=15), timezone="UTC")
    (mine,) = client.create_deployment_schedules(refresh, [(often, True)], max_scheduled_runs=1)
    deployment = DeploymentFilter(id=DeploymentFilterId(any_=[refresh]))

    def fired() -> list[UUID]:
        runs = client.read_flow_runs(deployment_filter=deployment)
        return [run.id for run in runs if run.auto_scheduled and run.start_time]

    (run, *_) = running.until(fired)
    client.delete_deployment_schedule(refresh, mine.id)
    state = running.finish(run).state
    running.idle()
    assert state.name == "Completed", state.message
    assert "1 added, 1 changed, 1 removed" in state.message
    assert first(shop.workspace, 40) == "n40"
    assert first(shop.workspace, 41) == "g1-0"
    assert "g2-2" not in labels(shop.workspace)


def test_the_documented_commands_of_prefect_work(running: Night) -> None:
    page = Path(__file__).parents[2] / "docs/operations.md"
    commands = re.findall(r"^prefect .*", page.read_text(encoding="utf-8"), re.M)
    assert len(commands) == 2
    for command in commands:
        running.prefect(shlex.split(command)[1:])
    running.idle()


def test_two_retrains_at_once_wait_and_the_better_candidate_serves(
    shop: Shop, running: Night
) -> None:
    before, served = champion(shop.workspace), labels(shop.workspace)
    give_bundle(shop.workspace, seed=5)
    runs = [running.start(RETRAIN) for _ in range(2)]
    ended = sorted((running.finish(run) for run in runs), key=lambda run: run.start_time)
    assert [run.state.name for run in ended] == ["Promoted", "Promoted"], ended[0].state.message
    assert ended[0].end_time <= ended[1].start_time
    assert "all" in ended[0].state.message
    assert "unchanged" in ended[1].state.message
    assert champion(shop.workspace) != before
    # What the refresh did is not in the manifest that this candidate was ingested from.
    assert labels(shop.workspace) == served


def test_a_worse_candidate_is_refused_and_the_alias_stays(shop: Shop, running: Night) -> None:
    before = champion(shop.workspace)
    give_bundle(shop.workspace, seed=6, text=1.0)
    run = running.finish(running.start(RETRAIN))
    assert run.state.name == "Rejected", run.state.message
    assert "mAP@10" in run.state.message
    assert champion(shop.workspace) == before


def test_a_person_approves_a_suspended_run(shop: Shop, running: Night) -> None:
    root, before = shop.workspace.root, champion(shop.workspace)
    change_params(root, promote={"approval": "manual"})
    give_bundle(shop.workspace, seed=7)
    run = running.start(RETRAIN)
    running.until(lambda: running.run(run).state.name == "Suspended", run)
    assert champion(shop.workspace) == before
    review = running.artifact(run, "review")
    assert "waits for a person" in review
    assert "data:image/jpeg;base64," in review
    answer = {"decision": "approve", "reviewer": "Ada", "note": "looks right"}
    running.client.resume_flow_run(run, run_input=answer)
    state = running.finish(run).state
    assert state.name == "Promoted", state.message
    assert champion(shop.workspace) != before
    record = json.loads(shop.workspace.promotion.read_text(encoding="utf-8"))
    assert record["approval"] == answer
    change_params(root, promote={"approval": "auto"})


def test_a_worker_killed_in_an_ingestion_is_recovered_by_the_next_run(
    shop: Shop, running: Night
) -> None:
    root, before = shop.workspace.root, champion(shop.workspace)
    served = labels(shop.workspace)
    give_bundle(shop.workspace, seed=8)
    (root / "halfway").unlink(missing_ok=True)
    (root / "hold").touch()
    run = running.start(RETRAIN)
    running.until((root / "halfway").exists, run)
    for process in running.worker():
        process.kill()
    running.process.wait(60)
    (root / "hold").unlink()
    assert champion(shop.workspace) == before
    with night(root) as again:
        assert again.run(run).state.name == "Crashed"
        state = again.finish(again.start(RETRAIN)).state
    assert state.name == "Promoted", state.message
    assert champion(shop.workspace) != before
    assert labels(shop.workspace) == served
