import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.validate import validate
from tests.support.catalogue_folder import small_catalogue, write_photo, write_table
from unbundle.base.errors import UserError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def allowing(params: Params, fraction: float) -> Params:
    changed = params.validation.model_copy(update={"max_bad_fraction": fraction})
    return params.model_copy(update={"validation": changed})


def quarantined(workspace: Workspace) -> dict[str, str]:
    table = pd.read_parquet(workspace.quarantine)
    return dict(zip(table["id"], table["reason"], strict=True))


def figures(workspace: Workspace) -> dict[str, Any]:
    text = (workspace.validation_report / "validation.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def test_a_clean_catalogue_becomes_the_manifest(workspace: Workspace, tiny_params: Params) -> None:
    rows = small_catalogue(workspace.catalogue)
    # A carried column may have the name of something that validation computes for itself.
    write_table(workspace.catalogue, [row | {"hash": row["id"], "price": "9.90"} for row in rows])
    validate(workspace, tiny_params)
    manifest = read_manifest(workspace.manifest)
    assert manifest["id"].tolist() == [row["id"] for row in rows] == manifest["hash"].tolist()
    assert {*manifest["price"]} == {"9.90"}
    assert manifest["labels"].tolist()[4:7] == [["label 4"], ["label 5"], ["label 4", "label 5"]]
    assert manifest["boxes"].tolist()[5:7] == [None, [[0, 0, 30, 48], [30, 0, 64, 48]]]
    assert {*manifest["width"], *manifest["height"]} == {64, 48}
    assert quarantined(workspace) == {}
    assert figures(workspace)["clean_by_split"]["train"] == {"single": 4, "multi": 0, "unknown": 0}


BAD = {
    "its id occurs more than once": {"id": "p0"},
    "its id is not 1 to 64 letters, digits or _.:-": {"id": "<b>面霜</b>"},
    "split 'val' is none of train, gallery, dev, test": {"split": "val"},
    "kind 'set' is none of single, multi, empty": {"kind": "set"},
    "image '../p0.png' leads out of the catalogue folder": {"image": "../p0.png"},
    "image 'p.png' is not in the catalogue folder": {"image": "p.png"},
    "image 'text.png' is in no format that is known": {"image": "text.png"},
    "its photo has 20 pixels, fewer than 32": {"image": "small.png"},
    "its caption is longer than 512 characters": {"caption": "霜" * 513},
    "a label is empty, labels are joined by #;#": {"labels": "label 4#;#"},
    "a gallery row needs the label of one product, it has 0": {"split": "gallery"},
    "a gallery row needs the label of one product, it has 2": {
        "split": "gallery",
        "labels": "label 4#;#label 5",
    },
    "a test row needs labels, it has none": {"split": "test"},
    "boxes are not JSON": {"boxes": "[[0, 0, 30"},
    "boxes are not [[x0, y0, x1, y1], …]": {"boxes": "[[0, 0, 30]]"},
    "it has 1 boxes for 2 labels": {
        "split": "dev",
        "labels": "label 4#;#label 5",
        "boxes": "[[0, 0, 30, 48]]",
    },
    "1 of its boxes are empty or leave the 64 x 48 photo": {
        "split": "dev",
        "labels": "label 4#;#label 5",
        "boxes": "[[0, 0, 64, 48], [0, 0, 65, 48]]",
    },
    "no clean gallery row has its label 'label 9', 'label 8'": {
        "split": "dev",
        "labels": "label 9#;#label 4#;#label 8#;#label 9",
    },
    "its photo nearly is that of the query 'p7'": {"image": "copy.jpg"},
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, tiny_params: Params) -> Workspace:
    """A validated catalogue in which each way to be bad has its row."""
    workspace = Workspace(tmp_path_factory.mktemp("mixed"))
    folder = workspace.catalogue
    rows = small_catalogue(folder)
    write_photo(folder / "small.png", 50, 20, 80)
    (folder / "text.png").write_text("no photo", encoding="utf-8")
    with Image.open(folder / "images/p7.png") as query:
        query.resize((192, 144)).save(folder / "copy.jpg", quality=60)
    for number, changes in enumerate(BAD.values()):
        write_photo(folder / f"images/b{number}.png", 100 + number)
        row = {"id": f"b{number}", "image": f"images/b{number}.png", "split": "train"}
        rows.append(row | changes)
    write_table(folder, rows)
    validate(workspace, allowing(tiny_params, 1))
    return workspace


@pytest.mark.parametrize(("number", "reason"), list(enumerate(BAD)))
def test_a_bad_row_goes_to_quarantine_with_its_reason(
    mixed: Workspace, number: int, reason: str
) -> None:
    table = pd.read_parquet(mixed.quarantine).set_index("line")
    assert table["reason"][10 + number] == reason


def test_good_rows_are_kept(mixed: Workspace) -> None:
    # Both rows of a repeated id go: nothing tells which is meant.
    assert read_manifest(mixed.manifest)["id"].tolist() == [f"p{n}" for n in range(1, 8)]
    assert pd.read_parquet(mixed.quarantine)["line"].tolist() == [2, *range(10, 10 + len(BAD))]


def test_the_figures_count_every_check(mixed: Workspace) -> None:
    found = figures(mixed)
    assert (found["rows"], found["clean"], found["quarantined"]) == (27, 7, 20)
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["ids are unique"]["failures"] == 2
    assert checks["ids are unique"]["first"][0] == {
        "line": 2,
        "id": "p0",
        "reason": "its id occurs more than once",
    }
    lonely = checks["labels have several gallery photos"]
    assert (lonely["effect"], lonely["failures"]) == ("warn", 2)


def test_the_page_needs_no_network_and_data_docs_lie_beside_it(mixed: Workspace) -> None:
    page = (mixed.validation_report / "summary.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert "&lt;b&gt;面霜" in page
    assert "<b>" not in page
    assert "text.png&#x27; is in no format" in page
    docs = mixed.validation_report / "data_docs"
    assert (docs / "index.html").is_file()
    assert len([*docs.glob("validations/*/*/*/*.html")]) == 2


def test_the_same_catalogue_gives_the_same_files(workspace: Workspace, tiny_params: Params) -> None:
    rows = small_catalogue(workspace.catalogue)
    write_table(workspace.catalogue, [*rows[1:], rows[0] | {"kind": "set"}])
    outputs = [workspace.manifest, workspace.quarantine]
    outputs += [workspace.validation_report / name for name in ("validation.json", "summary.html")]
    found = []
    for _ in range(2):
        validate(workspace, allowing(tiny_params, 1))
        found.append([path.read_bytes() for path in outputs])
    assert found[0] == found[1]


def test_too_many_bad_rows_fail_and_name_the_first(
    workspace: Workspace, tiny_params: Params
) -> None:
    rows = small_catalogue(workspace.catalogue)
    rows[0]["kind"], rows[3]["image"] = "set", "../p3.png"
    write_table(workspace.catalogue, rows)
    with pytest.raises(UserError) as caught:
        validate(workspace, tiny_params)
    assert str(caught.value) == (
        f"{workspace.catalogue}/catalogue.csv: 2 of 8 rows are bad, validate.max_bad_fraction "
        "allows 2.0%: line 2 ('p0'): kind 'set' is none of single, multi, empty; line 5 ('p3'): "
        "image '../p3.png' leads out of the catalogue folder; repair them or allow more; "
        f"more in {workspace.validation_report}/summary.html"
    )
    assert (workspace.validation_report / "summary.html").is_file()
    assert not workspace.manifest.exists()
    assert not workspace.quarantine.exists()


def test_a_missing_catalogue_says_which_stage_writes_it(
    workspace: Workspace, tiny_params: Params
) -> None:
    with pytest.raises(UserError, match="no such file; run the stage catalogue first"):
        validate(workspace, tiny_params)


def test_as_many_bad_rows_as_allowed_pass(workspace: Workspace, tiny_params: Params) -> None:
    rows = small_catalogue(workspace.catalogue)
    rows[0]["kind"] = "set"
    write_table(workspace.catalogue, rows)
    validate(workspace, allowing(tiny_params, 1 / 8))
    assert [*quarantined(workspace)] == ["p0"]


def test_a_catalogue_that_has_nothing_to_search_in_is_refused(
    workspace: Workspace, tiny_params: Params
) -> None:
    rows = [row for row in small_catalogue(workspace.catalogue) if row["split"] != "gallery"]
    write_table(workspace.catalogue, rows)
    with pytest.raises(UserError, match="needs clean rows of the splits train and gallery"):
        validate(workspace, allowing(tiny_params, 1))
    assert not workspace.manifest.exists()


def test_a_query_of_a_product_whose_gallery_photo_is_bad_is_bad(
    workspace: Workspace, tiny_params: Params
) -> None:
    rows = small_catalogue(workspace.catalogue)
    write_table(workspace.catalogue, rows)
    (workspace.catalogue / rows[5]["image"]).unlink()
    validate(workspace, allowing(tiny_params, 1))
    reasons = quarantined(workspace)
    assert [*reasons] == ["p5", "p6", "p7"]
    assert reasons["p6"] == "no clean gallery row has its label 'label 5'"


VALUES = {
    "id": st.sampled_from(["a", "b", "c", ""]),
    "image": st.sampled_from(["images/p0.png", "images/p1.png", "images/p2.png", "x", ""]),
    "caption": st.sampled_from(["", "面霜 50 ml, 两瓶", '"', "\u2028"]),
    "labels": st.sampled_from(["", "x", "x#;#x", "x#;#y", "#;#"]),
    "split": st.sampled_from(["train", "gallery", "dev", "test", ""]),
    "kind": st.sampled_from(["single", "multi", "", "set"]),
    "boxes": st.sampled_from(["", "[]", "[[0, 0, 9, 9]]", "[[0, 0, 9e9, 9e99]]", "[0]", "{"]),
}


@settings(max_examples=3)
@given(rows=st.lists(st.fixed_dictionaries(VALUES), min_size=20, max_size=40))
def test_every_row_is_kept_once_or_has_a_reason(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_params: Params,
    rows: list[dict[str, str]],
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("any"))
    first = small_catalogue(workspace.catalogue)
    write_table(workspace.catalogue, [*first, *rows])
    validate(workspace, allowing(tiny_params, 1))
    table = pd.read_parquet(workspace.quarantine)
    kept = read_manifest(workspace.manifest)["id"].tolist()
    lines = np.arange(2, 2 + len(first) + len(rows))
    clean = [line for line in lines if line not in table["line"].tolist()]
    ids = [row["id"] for row in [*first, *rows]]
    assert kept == [ids[line - 2] for line in clean]
    assert all(table["reason"])
