import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.promote import promote
from tasks.watch import watch
from tests.support.evaluated_catalogue import write_world
from tests.support.tiny_model_bundle import scene
from unbundle.base.errors import UserError
from unbundle.query.search import ProductSearch, Question
from unbundle.recording.query_log import Recorder, Recording


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, tiny_params: Params) -> Workspace:
    """A champion with the profile that its promotion left, and no served query yet."""
    workspace = write_world(tmp_path_factory.mktemp("template"))
    ingest(workspace, tiny_params)
    evaluate(workspace, tiny_params)
    assert promote(workspace, tiny_params).promoted
    return workspace


@pytest.fixture
def world(template: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(template.root, tmp_path / "world")))


def serve(workspace: Workspace, params: Params, queries: Sequence[tuple[bytes, str]]) -> None:
    recorder = Recorder(Recording(workspace.root / params.replay.records))
    with ProductSearch(workspace.bundles, str(workspace.milvus), threads=1) as search:
        for photo, title in queries:
            recorder.answering(Question(photo, title), search.ask)


def usual(workspace: Workspace) -> list[tuple[bytes, str]]:
    rows = read_manifest(workspace.manifest).query("split == 'test'")
    return [
        ((workspace.catalogue / image).read_bytes(), caption)
        for image, caption in zip(rows["image"], rows["caption"], strict=True)
    ]


def strange(number: int) -> tuple[bytes, str]:
    """A large bright photo of goods that the catalogue lacks, under a Russian title."""
    pixels = np.kron(scene([50 + number] * 4), np.ones((4, 4, 1), np.uint8)) // 2 + 120
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue(), "увлажняющий крем для лица"


def test_the_same_queries_are_steady(world: Workspace, tiny_params: Params) -> None:
    serve(world, tiny_params, usual(world))
    drift = watch(world, tiny_params)
    assert drift.queries == 12
    assert drift.breached == []
    assert max(figure.distance for figure in drift.figures) < 0.1
    assert drift.told == f"{drift.collection}: {len(drift.figures)} figures are as they were"


def test_other_queries_are_told_by_every_figure(world: Workspace, tiny_params: Params) -> None:
    serve(world, tiny_params, [strange(number) for number in range(12)])
    drift = watch(world, tiny_params)
    breached = {figure.name.removeprefix("queries: ") for figure in drift.breached}
    assert {
        "characters of a title",
        "titles in other",
        "titles in latin",
        "unknown pieces of a title",
        "size of a photo",
        "brightness",
        "products seen in a photo",
        "cosine with the mean query",
        "score of the first product",
    } <= breached
    assert not {name for name in breached if name.startswith("catalogue: ")}
    assert drift.breached[0].line in drift.told
    written = json.loads((world.watch_report / "drift.json").read_text())
    assert [one["name"] for one in written["figures"] if one["breached"]] == [
        figure.name for figure in drift.breached
    ]
    with Image.open(world.watch_report / "drift.png") as picture:
        assert picture.width > 500


def test_goods_that_the_catalogue_lacks_are_told_by_their_share(
    world: Workspace, tiny_params: Params
) -> None:
    goods = [(strange(number)[0], "") for number in range(12)]
    serve(world, tiny_params, goods)
    figures = {figure.name: figure for figure in watch(world, tiny_params).figures}
    share = figures["queries: products not in the catalogue"]
    assert share.now > share.then
    assert figures["queries: without a title"].now == 1


def test_the_catalogue_alone_is_watched_where_nothing_was_recorded(
    world: Workspace, tiny_params: Params
) -> None:
    manifest = read_manifest(world.manifest)
    manifest.loc[manifest["split"] == "gallery", "caption"] = "увлажняющий крем"
    manifest.to_parquet(world.manifest)
    drift = watch(world, tiny_params)
    assert drift.queries == 0
    assert {figure.name for figure in drift.breached} >= {
        "catalogue: titles in other",
        "catalogue: unknown pieces of a title",
    }
    assert not [figure for figure in drift.figures if figure.name.startswith("queries: ")]


def test_few_queries_tell_nothing(world: Workspace, tiny_params: Params) -> None:
    serve(world, tiny_params, [strange(number) for number in range(3)])
    assert watch(world, tiny_params).breached == []
    world.manifest.unlink()
    with pytest.raises(UserError, match="neither recorded queries nor a manifest to compare"):
        watch(world, tiny_params)
