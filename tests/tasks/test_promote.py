"""Promotion on a tiny world: real collections, real aliases, real bundles."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.evaluate import evaluate
from tasks.index.ingestion_receipt import Receipt
from tasks.ingest import ingest
from tasks.promote import promote
from tests.support.evaluated_catalogue import PROJECT, write_world
from tests.support.tiny_model_bundle import png, read_settings, scene, write_bundle, write_settings
from unbundle.base.errors import UserError
from unbundle.cli import main
from unbundle.encoding.model_bundle import SETTINGS
from unbundle.index.change_journal import Journal
from unbundle.index.gallery_collection import Item
from unbundle.index.milvus_database import CHAMPION, PREVIOUS, Database
from unbundle.index.put_and_delete import ProductPut, delete, put
from unbundle.query.search import ProductSearch, Question
from unbundle.recording.query_log import Recorder, Recording
from unbundle.vision.imaging import open_photo


@pytest.fixture
def params(tiny_params: Params) -> Params:
    """Limits under which these worlds, of a dozen queries each, pass or fail clearly."""
    return with_limits(tiny_params, tolerance=0.1, max_latency_ratio=100.0, keep=1)


def with_limits(params: Params, **limits: Any) -> Params:
    return params.model_copy(update={"promote": params.promote.model_copy(update=limits)})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, tiny_params: Params) -> Path:
    """A measured world that nothing serves from yet; to be copied."""
    workspace = write_world(tmp_path_factory.mktemp("template"))
    measure(workspace, tiny_params)
    return workspace.root


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Workspace:
    """A measured candidate, no champion."""
    return Workspace(Path(shutil.copytree(template, tmp_path / "world")))


def measure(workspace: Workspace, params: Params) -> str:
    ingest(workspace, params)
    evaluate(workspace, params)
    return Receipt.read(workspace.receipt).collection


def new_bundle(workspace: Workspace, seed: int) -> None:
    """Another encoder: what a training run leaves."""
    shutil.rmtree(workspace.bundle)
    write_bundle(workspace.bundle, seed)


def aliases(workspace: Workspace) -> tuple[str | None, str | None]:
    with Database(str(workspace.milvus)) as database:
        return database.target(CHAMPION), database.target(PREVIOUS)


def collections(workspace: Workspace) -> set[str]:
    with Database(str(workspace.milvus)) as database:
        return {collection.name for collection in database.collections()}


def record(workspace: Workspace) -> Any:
    return json.loads(workspace.promotion.read_text(encoding="utf-8"))


def test_the_first_candidate_that_passes_the_floors_serves(
    world: Workspace, params: Params
) -> None:
    decision = promote(world, params)
    receipt = Receipt.read(world.receipt)
    assert decision.promoted
    assert decision.champion is None
    assert aliases(world) == (receipt.collection, None)
    assert record(world)["reason"] == decision.reason == "promoted: all 7 rules hold"
    with ProductSearch(world.bundles, str(world.milvus)) as search:
        answer = search(world.catalogue / "images/q0.png", k=1)
        evidence = json.loads(search.gallery.properties["evaluation"])
    assert answer.instances[0].hits[0].label == "product-0"
    assert evidence["mAP@10"] > 0.9


def test_a_refused_candidate_changes_nothing(world: Workspace, params: Params) -> None:
    decision = promote(world, with_limits(params, min_average_precision=0.999))
    assert not decision.promoted
    assert decision.reason.startswith("refused: mAP@10 0.9")
    assert aliases(world) == (None, None)
    assert not world.bundles.exists()
    assert record(world)["promoted"] is False


def test_promoting_twice_says_so_and_keeps_the_record(world: Workspace, params: Params) -> None:
    promote(world, params)
    before = record(world)
    decision = promote(world, params)
    assert decision.promoted
    assert decision.reason.startswith("unchanged: products_")
    assert record(world) == before


def test_a_successor_is_compared_and_the_champion_kept_as_the_way_back(
    world: Workspace, params: Params
) -> None:
    promote(world, params)
    first = Receipt.read(world.receipt)
    new_bundle(world, seed=5)
    second = measure(world, params)
    decision = promote(world, params)
    assert decision.promoted, decision.reason
    assert decision.champion == first.collection
    assert aliases(world) == (second, first.collection)
    names = [rule.name for rule in decision.rules]
    assert "mAP@10 against the champion" in names
    assert "query latency" in names
    with ProductSearch(world.bundles, str(world.milvus), PREVIOUS) as search:
        assert search.encoder.bundle.version == first.bundle


def test_a_successor_is_asked_what_clients_asked(world: Workspace, params: Params) -> None:
    promote(world, params)
    recorder = Recorder(Recording(world.root / params.replay.records, content=True))
    photo = (world.catalogue / "images/q0.png").read_bytes()
    with ProductSearch(world.bundles, str(world.milvus)) as search:
        recorder.answering(Question(photo, "red"), search.ask)
    new_bundle(world, seed=5)
    measure(world, params)
    decision = promote(world, with_limits(params, max_changed=1.0, min_replayed=1))
    rule = next(rule for rule in decision.rules if rule.name == "answers that clients had")
    assert rule.figures["replayed"] == 1


def test_a_worse_successor_is_refused_and_the_champion_serves_on(
    world: Workspace, params: Params
) -> None:
    promote(world, params)
    champion, _ = aliases(world)
    new_bundle(world, seed=0)
    settings = read_settings(world.bundle)
    # A query that says nothing of its photo: the last part alone, from a random projection.
    settings["embedding"]["weights"]["both"] = {
        term: float(term == "text") for term in settings["embedding"]["weights"]["both"]
    }
    write_settings(world.bundle, settings)
    measure(world, params)
    decision = promote(world, params)
    assert not decision.promoted
    broken = [rule.name for rule in decision.rules if not rule.passed]
    assert "mAP@10 against the champion" in broken
    assert aliases(world) == (champion, None)


def test_old_collections_and_bundles_go_but_none_that_an_alias_names(
    world: Workspace, params: Params
) -> None:
    history = []
    for seed in (0, 1, 2):
        new_bundle(world, seed)
        measure(world, params)
        history.append(Receipt.read(world.receipt))
        assert promote(world, with_limits(params, keep=0, tolerance=1.0)).promoted
    kept = history[-2:]
    assert aliases(world) == (kept[1].collection, kept[0].collection)
    assert collections(world) == {receipt.collection for receipt in kept}
    assert {path.name for path in world.bundles.iterdir()} == {item.bundle for item in kept}


def test_a_champion_of_another_catalogue_is_measured_and_loses(
    world: Workspace, params: Params
) -> None:
    promote(world, params)
    shutil.rmtree(world.catalogue)
    write_world(world.root, first=100)
    measure(world, params)
    decision = promote(world, params)
    assert decision.promoted, decision.reason
    rule = next(rule for rule in decision.rules if rule.name == "mAP@10 against the champion")
    assert rule.figures["mean"] > 0.9


def test_old_figures_are_refused(
    world: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tasks.promotion.measure_candidate.DEPTH", 5)
        with pytest.raises(UserError, match="figures at other depths; run `dvc repro evaluate`"):
            promote(world, params)
    new_bundle(world, seed=5)
    ingest(world, params)
    with pytest.raises(UserError, match=r"retrieval\.json: figures of products_\w+, the candidate"):
        promote(world, params)
    write_world(world.root, queries=8)
    ingest(world, params)
    with pytest.raises(UserError, match="figures of other queries; run `dvc repro evaluate`"):
        promote(world, params)
    world.retrieval_metrics.unlink()
    with pytest.raises(UserError, match=r"retrieval\.json: no such file; run `dvc repro evaluate`"):
        promote(world, params)
    assert aliases(world) == (None, None)


def test_a_champion_whose_bundle_is_gone_is_named(world: Workspace, params: Params) -> None:
    promote(world, params)
    shutil.rmtree(world.bundles)
    new_bundle(world, seed=5)
    measure(world, params)
    with pytest.raises(UserError, match=r"no such bundle, so the champion products_\w+ cannot"):
        promote(world, params)


def test_a_champion_that_lost_rows_does_not_hold_up_its_successor(
    world: Workspace, params: Params
) -> None:
    promote(world, params)
    first = Receipt.read(world.receipt)
    new_bundle(world, seed=5)
    second = measure(world, params)
    with Database(str(world.milvus)) as database:
        database.gallery(first.collection).expect_rows(first.rows + 1)
    decision = promote(world, params)
    assert decision.promoted, decision.reason
    assert not [rule.name for rule in decision.rules if "champion" in rule.name]
    assert aliases(world) == (second, first.collection)


def test_a_champion_that_another_version_wrote_does_not_hold_up_its_successor(
    world: Workspace, params: Params
) -> None:
    promote(world, params)
    first = Receipt.read(world.receipt)
    settings = world.bundles / first.bundle / SETTINGS
    written = json.loads(settings.read_text(encoding="utf-8")) | {"format": 2, "parts": ["old"]}
    settings.write_text(json.dumps(written), encoding="utf-8")
    new_bundle(world, seed=5)
    second = measure(world, params)
    decision = promote(world, params)
    assert decision.promoted, decision.reason
    assert decision.champion == first.collection
    assert not [rule.name for rule in decision.rules if "champion" in rule.name]
    assert aliases(world) == (second, first.collection)


def test_what_a_killed_promotion_left_undone_is_completed(world: Workspace, params: Params) -> None:
    # Killed after the bundle was copied in part: its half-written folder has a name of its own.
    receipt = Receipt.read(world.receipt)
    (world.bundles / f".{receipt.bundle}.1.part").mkdir(parents=True)
    assert promote(world, params).promoted
    # Killed after the alias moved: clean-up is done by the next call.
    stale = world.bundles / ("0" * 12)
    shutil.copytree(world.bundle, stale)
    promote(world, with_limits(params, keep=0))
    assert not stale.exists()
    assert (world.bundles / receipt.bundle / "bundle.json").is_file()


def fresh(number: int, name: str, caption: str = "red cream") -> ProductPut:
    photo = scene([number])
    item = Item(name, f"product-{number}", caption, "", {"novel": "true"})
    return ProductPut(item, png(photo), photo)


def change_live(world: Workspace, journal: Journal) -> None:
    """A refresh adds `new` and changes `g1-0`; clients put `mine` and delete `g2-0`."""
    with ProductSearch(world.bundles, str(world.milvus)) as search:
        gallery, encoder = search.gallery, search.encoder
        put(gallery, encoder, journal, "refresh", [fresh(50, "new"), fresh(51, "g1-0")])
        put(gallery, encoder, journal, "service", [fresh(52, "mine")])
        delete(gallery, journal, "service", ["g2-0", "never-there"])


def served_labels(world: Workspace) -> dict[str, str]:
    with Database(str(world.milvus)) as database:
        return {hit.id: hit.label for hit in database.gallery().rows.hits}


def test_a_promotion_loses_no_live_change(world: Workspace, params: Params) -> None:
    promote(world, params)
    journal = Journal(world.journal)
    change_live(world, journal)
    wanted = served_labels(world)
    assert {"new", "mine"} <= set(wanted)
    assert wanted["g1-0"] == "product-51"
    assert "g2-0" not in wanted
    new_bundle(world, seed=5)
    candidate = measure(world, params)
    decision = promote(world, with_limits(params, tolerance=1.0))
    assert decision.promoted, decision.reason
    assert aliases(world)[0] == candidate
    assert served_labels(world) == wanted
    with ProductSearch(world.bundles, str(world.milvus)) as search:
        hit = search(scene([52]), "red cream", k=1).instances[0].hits[0]
    assert hit.id == "mine"
    assert hit.score > 0.5, "encoded with the candidate's bundle"


def test_what_the_next_ingestion_has_seen_leaves_the_journal(
    world: Workspace, params: Params
) -> None:
    promote(world, params)
    journal = Journal(world.journal)
    manifest = pd.read_parquet(world.manifest)
    row = manifest.loc[manifest["id"] == "g1-0"].iloc[0]
    file = (world.catalogue / row["image"]).read_bytes()
    with ProductSearch(world.bundles, str(world.milvus)) as search:
        item = Item("g1-0", "product-1", row["caption"], row["image"], {"novel": row["novel"]})
        seen = ProductPut(item, file, open_photo(file))
        put(search.gallery, search.encoder, journal, "refresh", [seen, fresh(50, "new")])
        put(search.gallery, search.encoder, journal, "service", [fresh(52, "mine")])
    assert len(list(world.journal.glob("photos/*/*"))) == 3
    new_bundle(world, seed=5)
    measure(world, params)
    assert promote(world, with_limits(params, tolerance=1.0)).promoted
    assert [change.id for change in journal.changed()] == ["new", "mine"]
    assert len(list(world.journal.glob("photos/*/*"))) == 2


def test_a_promotion_that_was_killed_after_catching_up_is_completed(
    world: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(world, params)
    change_live(world, Journal(world.journal))
    wanted = served_labels(world)
    new_bundle(world, seed=5)
    candidate = measure(world, params)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "promote", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            promote(world, with_limits(params, tolerance=1.0))
    assert served_labels(world) == wanted
    decision = promote(world, with_limits(params, tolerance=1.0))
    assert decision.promoted, decision.reason
    assert aliases(world)[0] == candidate
    assert served_labels(world) == wanted


def test_a_live_product_that_the_candidate_cannot_hold_stops_the_promotion(
    world: Workspace, params: Params
) -> None:
    promote(world, params)
    before = aliases(world)
    with ProductSearch(world.bundles, str(world.milvus)) as search:
        journal = Journal(world.journal)
        put(search.gallery, search.encoder, journal, "service", [fresh(52, "mine")])
    manifest = pd.read_parquet(world.manifest)
    manifest.assign(price="10").to_parquet(world.manifest)
    measure(world, params)
    with pytest.raises(UserError, match="cannot hold a product that was changed live: id mine: no"):
        promote(world, params)
    assert aliases(world) == before


def test_the_command_ends_with_one_and_the_reason(
    world: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    monkeypatch.chdir(world.root)
    floor = "min_average_precision: 0.999 #"
    Path("params.yaml").write_text(
        text.replace("scale: demo", "scale: tiny", 1).replace("min_average_precision: 0 #", floor),
        encoding="utf-8",
    )
    with pytest.raises(SystemExit) as refused:
        main(["promote"])
    assert refused.value.code == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: refused: mAP@10 0.9")
    assert captured.err.count("\n") == 1
    assert aliases(world) == (None, None)
