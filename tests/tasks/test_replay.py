import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.index.ingestion_receipt import Receipt
from tasks.ingest import ingest
from tasks.monitoring.replay_queries import recent_records, replay
from tasks.replay import replay_candidate
from tests.support.documented_commands import commands, run
from tests.support.evaluated_catalogue import PROJECT, tiny_params
from tests.support.served_catalogue import copied
from tests.support.tiny_model_bundle import read_settings, scene, write_bundle, write_settings
from unbundle.base.errors import UserError
from unbundle.cli import main
from unbundle.query.search import ProductSearch, Question
from unbundle.recording.query_log import Recorder, Recording

QUERIES = [([0, 1], "red cream"), ([2], ""), ([3, 4, 5], "blue"), ([1], "serum")]


def png(*products: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(scene(products)).save(file, "PNG")
    return file.getvalue()


def record(workspace: Workspace, content: bool) -> None:
    """Ask the champion, as a service would, a title alone and a filtered query included."""
    folder = workspace.root / "data/queries"
    shutil.rmtree(folder, ignore_errors=True)
    recorder = Recorder(Recording(folder, content))
    with ProductSearch(workspace.bundles, str(workspace.milvus), threads=1) as search:

        def ask(photo: bytes | None, caption: str, filters: Any = None) -> None:
            recorder.answering(Question(photo, caption, 3, filters=filters), search.ask)

        for products, caption in QUERIES:
            ask(png(*products), caption)
        ask(None, "red cream 3")
        ask(None, "red", {"brand": ["brand-1"]})


@pytest.fixture(scope="module")
def world(served: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = copied(served, tmp_path_factory.mktemp("replay") / "world")
    record(workspace, content=True)
    return workspace


@pytest.fixture(scope="module")
def params(world: Workspace) -> Params:
    return tiny_params(world.root)


@pytest.fixture(scope="module")
def other(world: Workspace, params: Params) -> Receipt:
    """A candidate that looks at titles alone where there is one."""
    write_bundle(world.bundle, seed=1)
    settings = read_settings(world.bundle)
    weights = settings["embedding"]["weights"]["both"]
    weights.update({term: float(term == "text") for term in weights})
    write_settings(world.bundle, settings)
    ingest(world, params)
    return Receipt.read(world.receipt)


def test_the_champion_answers_as_it_did(world: Workspace, params: Params) -> None:
    with ProductSearch(world.bundles, str(world.milvus), threads=1) as search:
        figures, changes = replay(search, recent_records(world, params.replay), params.replay)
    assert (figures.records, figures.replayed, figures.skipped) == (6, 5, {"filtered": 1})
    assert (figures.changed, figures.overlap) == (0, 1)
    assert all(change.milliseconds is not None for change in changes)
    assert figures.candidate_ms is not None


def test_a_page_shows_the_largest_changes(world: Workspace, params: Params, other: Receipt) -> None:
    figures = replay_candidate(world, params)
    assert figures.candidate == other.collection
    assert figures.changed > 0
    assert figures.overlap < 1
    written = json.loads((world.replay_report / "replay.json").read_text())
    assert written == figures.model_dump()
    page = (world.replay_report / "index.html").read_text(encoding="utf-8")
    assert f"{figures.changed:.1%}" in page
    assert "data:image/jpeg;base64," in page
    assert "<script" not in page
    assert "http" not in page


def test_without_photos_only_the_same_bundle_can_replay(
    tmp_path: Path, params: Params, world: Workspace, other: Receipt
) -> None:
    copy = Workspace(Path(shutil.copytree(world.root, tmp_path / "world")))
    record(copy, content=False)
    records = recent_records(copy, params.replay)
    with ProductSearch(copy.bundles, str(copy.milvus), threads=1) as search:
        figures, _ = replay(search, records, params.replay)
    assert (figures.replayed, figures.changed, figures.candidate_ms) == (5, 0, None)
    with ProductSearch(copy.bundle, str(copy.milvus), other.collection, threads=1) as search:
        figures, _ = replay(search, records, params.replay)
    assert figures.replayed == 0
    assert figures.skipped == {"filtered": 1, "no photo or title was kept": 5}


def test_nothing_recorded_says_how_to(world: Workspace, params: Params, other: Receipt) -> None:
    nowhere = params.replay.model_copy(update={"records": Path("nowhere")})
    with pytest.raises(UserError, match="no recorded query; serve with `unbundle serve --record"):
        replay_candidate(world, params.model_copy(update={"replay": nowhere}))


def test_the_documented_commands_work(
    world: Workspace, other: Receipt, capsys: pytest.CaptureFixture[str]
) -> None:
    serving, asking, flow = commands("operations.md", "Replay")
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    assert serving[:2] == ["unbundle", "serve"]
    assert all(option in shown for option in serving if option.startswith("--"))
    run(world.root, asking, PYTHONPATH=str(PROJECT))
    assert flow == ["python", "-m", "flows.replay"], "run in tests/flows"
