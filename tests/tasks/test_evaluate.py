"""The stage on a tiny world: real bundle, real Milvus Lite, real photos."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest, write_manifest
from tasks.data.splits import is_fitted
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.metrics.product1m_protocol import official
from tasks.metrics.ranking import corrected
from tasks.metrics.rankings_file import read_rankings
from tests.support.evaluated_catalogue import write_world
from tests.support.tiny_model_bundle import read_settings, write_settings
from unbundle.base.errors import UserError


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, tiny_params: Params) -> Workspace:
    """A measured world, not to be changed."""
    workspace = write_world(tmp_path_factory.mktemp("world"))
    ingest(workspace, tiny_params)
    evaluate(workspace, tiny_params)
    return workspace


def metrics(workspace: Workspace) -> Any:
    return json.loads(workspace.retrieval_metrics.read_text(encoding="utf-8"))


def test_the_headline_is_ten_of_the_figures(evaluated: Workspace) -> None:
    found = metrics(evaluated)
    headline = json.loads(evaluated.headline_metrics.read_text(encoding="utf-8"))
    assert len(headline) == 10
    assert headline["mAP@10"] == round(found["corrected"]["top10"]["mAP"]["mean"], 4)
    plain = [values["coverage"]["mean"] for values in found["baselines"].values()]
    assert headline["plain cov"] == round(max(plain), 4)
    assert headline["queries"] == found["queries"]["count"]


def labels(workspace: Workspace, split: str) -> dict[str, list[str]]:
    manifest = read_manifest(workspace.manifest)
    rows = manifest[manifest["split"] == split]
    return dict(zip(rows["id"], rows["labels"], strict=True))


def test_the_figures_are_those_of_the_written_rankings(
    evaluated: Workspace, tiny_params: Params
) -> None:
    rankings = read_rankings(evaluated.rankings)
    queries = labels(evaluated, "test")
    gallery = {name: row[0] for name, row in labels(evaluated, "gallery").items()}
    assert [query for query, _ in rankings] == list(queries)
    found = metrics(evaluated)
    for k in tiny_params.evaluate.depths:
        expected = official(rankings, queries, gallery, k).as_json()
        assert found["official"][f"top{k}"] == pytest.approx(expected, rel=0, abs=1e-12)
        values = corrected(dict(rankings), queries, gallery, [k])
        means = {name: figures["mean"] for name, figures in found["corrected"][f"top{k}"].items()}
        assert means == pytest.approx(
            {"mAP": values.average_precision[k].mean(), "coverage": values.coverage[k].mean()},
            abs=1e-6,
        )


def test_the_tiny_world_is_found(evaluated: Workspace) -> None:
    found = metrics(evaluated)
    assert found["corrected"]["top10"]["mAP"]["mean"] > 0.9
    assert found["index"] == {"recall@10": 1.0}
    assert found["rows"] == {"collection": 15, "gallery": 15}
    assert found["queries"]["count"] == 12
    assert found["queries"]["split"] == "test"


def test_baselines_come_from_the_same_queries(evaluated: Workspace) -> None:
    baselines = metrics(evaluated)["baselines"]
    assert set(baselines) == {"image", "title", "late fusion", "late fusion per instance"}
    assert baselines["image"]["mAP"]["mean"] > 0.9
    assert baselines["title"]["coverage"]["mean"] < baselines["image"]["coverage"]["mean"]


def test_slices_are_told_apart(evaluated: Workspace) -> None:
    slices = metrics(evaluated)["slices"]
    assert {name: figures["queries"] for name, figures in slices.items()} == {
        "products=1": 3,
        "products=2": 3,
        "products=3": 3,
        "products=4+": 3,
        "rare label": 9,
        "small box": 1,
        "novel=false": 6,
        "novel=true": 6,
    }


def test_the_query_table_has_what_the_gate_reads(evaluated: Workspace) -> None:
    table = pd.read_parquet(evaluated.retrieval_report / "queries.parquet")
    assert list(table["id"]) == list(labels(evaluated, "test"))
    mean = metrics(evaluated)["corrected"]["top10"]["mAP"]["mean"]
    assert table["mAP@10"].mean() == pytest.approx(mean, abs=1e-6)
    assert table["slice: novel=true"].sum() == 6


def test_pictures_and_times_are_left(evaluated: Workspace) -> None:
    for name in ("answers.jpg", "worst.jpg"):
        with Image.open(evaluated.retrieval_report / name) as sheet:
            assert len(np.unique(np.asarray(sheet.convert("L")))) > 10
    timing = json.loads((evaluated.retrieval_report / "timing.json").read_text())
    assert 0 < timing["median_ms"] <= timing["p95_ms"]


def test_the_curves_are_those_of_the_figures(evaluated: Workspace, tiny_params: Params) -> None:
    coverage = pd.read_csv(evaluated.retrieval_report / "coverage.csv")
    assert list(coverage["k"]) == list(range(1, tiny_params.evaluate.depth + 1))
    found = metrics(evaluated)
    for k in tiny_params.evaluate.depths:
        mean = found["corrected"][f"top{k}"]["coverage"]["mean"]
        assert coverage["CAPTURE"][k - 1] == pytest.approx(mean, abs=2e-6)
    assert coverage["image"][9] == pytest.approx(
        found["baselines"]["image"]["coverage"]["mean"], abs=2e-6
    )
    reliability = pd.read_csv(evaluated.retrieval_report / "reliability.csv")
    assert len(reliability) == len((found["known"] or {"reliability": []})["reliability"])
    with Image.open(evaluated.retrieval_report / "curves.png") as picture:
        assert picture.width > 800


def test_a_second_run_gives_the_same_files(
    evaluated: Workspace, tiny_params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (evaluated.retrieval_metrics, evaluated.rankings)}
    evaluate(evaluated, tiny_params)
    assert before == {path: path.read_bytes() for path in before}
    printed = capsys.readouterr().out
    assert "CAPTURE" in printed
    assert "baseline: image" in printed


def relabelled(workspace: Workspace, **changes: Any) -> None:
    """Change the queries' rows of the manifest; the gallery and its collection stay."""
    manifest = read_manifest(workspace.manifest)
    queries = manifest["split"] != "gallery"
    for column, change in changes.items():
        manifest.loc[queries, column] = manifest.loc[queries, column].map(change)
    write_manifest(workspace.manifest, manifest)


@pytest.fixture
def world(tmp_path: Path, tiny_params: Params) -> Workspace:
    """A world that a test may change, ingested."""
    workspace = write_world(tmp_path)
    ingest(workspace, tiny_params)
    return workspace


def test_dev_stands_in_for_test_and_shows_what_no_weight_has_seen(
    world: Workspace, tiny_params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    relabelled(world, split=lambda _: "dev")
    settings = read_settings(world.bundle)
    settings["embedding"]["fitted_on"] = {"split": "dev", "queries": 6, "half": True}
    write_settings(world.bundle, settings)
    ingest(world, tiny_params)
    evaluate(world, tiny_params)
    assert "no labelled query of split test: the figures cover dev" in capsys.readouterr().out
    found = metrics(world)
    assert found["queries"]["split"] == "dev"
    held_out = [name for name in labels(world, "dev") if not is_fitted(name)]
    assert found["slices"]["held out"]["queries"] == len(held_out)


def test_misses_are_charged_to_their_causes(world: Workspace, tiny_params: Params) -> None:
    # Nothing in the gallery carries the new label: no search can find it.
    relabelled(world, labels=lambda row: [*row[:-1], "product-unheard"])
    evaluate(world, tiny_params)
    misses = pd.read_csv(world.retrieval_report / "misses.csv")
    assert set(misses["label"]) == {"product-unheard"}
    assert len(misses) == 12
    counts = metrics(world)["misses_at_10"]
    assert counts["encoder"] == 12
    assert counts["products_asked"] == 30
    assert metrics(world)["official_failures"]["top10"] == 12


def test_a_query_whose_box_is_not_seen_is_the_detectors(
    world: Workspace, tiny_params: Params
) -> None:
    relabelled(
        world,
        labels=lambda row: ["product-unheard", *row[1:]],
        boxes=lambda rows: [[0, 0, 4, 4], *rows[1:]],
    )
    evaluate(world, tiny_params)
    assert set(pd.read_csv(world.retrieval_report / "misses.csv")["cause"]) == {"detector"}


def test_what_is_missing_is_named(world: Workspace, tiny_params: Params) -> None:
    relabelled(world, labels=lambda _: [])
    with pytest.raises(UserError, match="no labelled row of split test or dev"):
        evaluate(world, tiny_params)
    world.receipt.unlink()
    with pytest.raises(UserError, match=r"ingestion\.json: no such file; run `dvc repro ingest`"):
        evaluate(world, tiny_params)
    assert not world.retrieval_metrics.exists()
