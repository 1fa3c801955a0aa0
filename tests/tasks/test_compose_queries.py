"""Queries composed of a tiny gallery, and the pipeline that fits and measures with them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.compose_queries import compose_queries
from tasks.data.composed_queries import JUNK, read_rows
from tasks.data.manifest import read_manifest, write_manifest
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.metrics.rankings_file import read_rankings
from tasks.promote import promote
from tasks.synthesis.render_queries import mixed_title
from tests.support.evaluated_catalogue import write_world
from unbundle.vision.imaging import open_photo


@pytest.fixture
def unlabelled(tmp_path: Path) -> Workspace:
    """A gallery of eight products, of which every third has one photo; no query."""
    workspace = write_world(tmp_path)
    manifest = read_manifest(workspace.manifest)
    write_manifest(workspace.manifest, manifest[manifest["split"] == "gallery"])
    return workspace


def composed(workspace: Workspace) -> pd.DataFrame:
    rows = read_rows(workspace)
    return rows[rows["split"] != "gallery"]


def test_each_query_shows_products_of_its_half_and_finds_another_photo(
    unlabelled: Workspace, tiny_params: Params
) -> None:
    compose_queries(unlabelled, tiny_params)
    rows, gallery = composed(unlabelled), read_manifest(unlabelled.manifest)
    assert rows["split"].value_counts().to_dict() == {"dev": 8, "test": 8}
    halves = [
        {label for row in part for label in row} for _, part in rows.groupby("split")["labels"]
    ]
    assert not halves[0] & halves[1]
    photos = gallery.assign(product=gallery["labels"].str[0]).groupby("product")["id"].agg(set)
    for row in rows.to_dict("records"):
        photo = open_photo(unlabelled.catalogue / row["image"])
        assert photo.shape[:2] == (row["height"], row["width"])
        assert len(row["boxes"]) == len(row["labels"]) == len(set(row["labels"])) > 0
        several = [label for label in row["labels"] if len(photos[label]) > 1]
        assert len(row[JUNK]) == len(several)
        for label, junk in zip(several, row[JUNK], strict=True):
            assert junk in photos[label]


def test_the_same_seed_composes_the_same_bytes(unlabelled: Workspace, tiny_params: Params) -> None:
    def digests() -> list[str]:
        compose_queries(unlabelled, tiny_params)
        files = sorted(path for path in unlabelled.composed.rglob("*") if path.is_file())
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]

    first = digests()
    assert len(first) == 17
    assert digests() == first


def test_nothing_is_composed_where_people_labelled(
    tmp_path: Path, tiny_params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = write_world(tmp_path)
    compose_queries(workspace, tiny_params)
    assert "nothing composed" in capsys.readouterr().out
    assert len(read_rows(workspace)) == len(read_manifest(workspace.manifest))


def test_a_catalogue_without_a_label_is_measured_and_served(
    unlabelled: Workspace, tiny_params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    compose_queries(unlabelled, tiny_params)
    ingest(unlabelled, tiny_params)
    evaluate(unlabelled, tiny_params)
    assert "provisional" in capsys.readouterr().out
    found = json.loads(unlabelled.retrieval_metrics.read_text(encoding="utf-8"))
    assert found["queries"]["composed"] is True
    assert found["queries"]["count"] == 8
    junk = dict(zip(composed(unlabelled)["id"], composed(unlabelled)[JUNK], strict=True))
    rankings = dict(read_rankings(unlabelled.rankings))
    assert any(junk[query] for query in rankings)
    for query, ranking in rankings.items():
        assert ranking
        assert not set(junk[query]) & set(ranking)
    assert promote(unlabelled, tiny_params).promoted


@given(titles=st.lists(st.text("ab c口红", max_size=12), max_size=4), seed=st.integers(0, 99))
def test_a_mixed_title_holds_words_of_its_products_alone(titles: list[str], seed: int) -> None:
    words = {word for title in titles for word in title.split()}
    assert set(mixed_title(titles, np.random.default_rng(seed)).split()) <= words
