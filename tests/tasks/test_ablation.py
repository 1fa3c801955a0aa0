import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.ablation import ablation
from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tasks.evaluation.ablation_rankings import other_boxes
from tasks.evaluation.ablation_table import compare, write_table
from tasks.evaluation.ablation_variants import MATRIX, Ablation, TableRow, Variant, override
from tasks.evaluation.unseen_products import is_unseen, naming_unseen
from tasks.pretrain import pretrain
from tasks.pretraining.checkpoint_name import checkpoint_name
from tasks.pretraining.published_capture_with_losses import ReleaseForPretraining
from unbundle.base.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workspace(viewed: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Features of photos with a gallery, dev and test queries."""
    folder = tmp_path_factory.mktemp("ablation")
    workspace = Workspace(Path(shutil.copytree(viewed, folder, dirs_exist_ok=True)))
    pretrain(workspace, load_params(workspace.root / "params.yaml"))
    return workspace


@pytest.fixture(scope="module")
def params(workspace: Workspace) -> Params:
    return load_params(workspace.root / "params.yaml")


@pytest.fixture(scope="module")
def matrix() -> Ablation:
    """Two variants."""
    shipped = Ablation.read(ROOT / MATRIX)
    rows = {
        "CAPTURE": TableRow(),
        "re-ranked": TableRow(verified=True),
        "true boxes": TableRow(boxes="true"),
        "whole photo": TableRow(boxes="whole"),
        "photo only": TableRow(mode="photo", terms=("raw", "visual"), fitted=False),
    }
    losses = shipped.variants["reference"].pretrain["losses"]
    variants = {
        "capture": Variant(rows=rows),
        "reference": Variant(
            architecture="release",
            pretrain={"model": {"co_layers": 1}, "losses": losses},
            rows={"reference": TableRow(terms=("visual", "text", "joint"), fitted=False)},
        ),
    }
    return shipped.model_copy(update={"variants": variants})


def test_the_table_holds_every_row_and_the_baselines(
    workspace: Workspace, params: Params, matrix: Ablation
) -> None:
    for name in matrix.variants:
        ablation(workspace, params, matrix, name)
    assert not list(workspace.checkpoints.rglob("*.pt"))
    write_table(workspace, params, matrix)
    table = json.loads((workspace.ablation_report / "table.json").read_text())
    rows = {row["row"]: row for row in table["20 queries of split test"]}
    assert {
        "CAPTURE",
        "re-ranked",
        "true boxes",
        "reference",
        "title only (BM25)",
        "late fusion",
    } <= set(rows)
    for row in rows.values():
        assert row["mAP"]["low"] <= row["mAP"]["mean"] <= row["mAP"]["high"]
    assert rows["CAPTURE"]["mAP of CAPTURE less it"]["mean"] == 0
    text = (workspace.ablation_report / "table.md").read_text()
    assert all(f"| {name} |" in text for name in rows)


def test_a_training_does_not_go_on_from_one_with_other_inputs(
    workspace: Workspace, params: Params, tmp_path: Path
) -> None:
    rows = ["a", "b"]
    name = checkpoint_name(workspace, params, rows)
    assert checkpoint_name(workspace, params, rows) == name
    faster = override(params, {"learning_rate": 0.5})
    other = Workspace(tmp_path)
    shutil.copytree(workspace.features, other.features)
    shutil.copy(workspace.manifest, other.manifest)
    assert checkpoint_name(other, params, rows) == name
    (other.features / "backbone.onnx").write_bytes(b"another network")
    names = {
        name,
        checkpoint_name(workspace, faster, rows),
        checkpoint_name(other, params, rows),
        checkpoint_name(workspace, params, ["a", "c"]),
        checkpoint_name(workspace, params, rows, ReleaseForPretraining),
    }
    assert len(names) == 5


def test_only_a_photo_with_the_detectors_boxes_is_looked_at_twice() -> None:
    for row in ({"mode": "title"}, {"boxes": "true"}, {"fitted": False}):
        with pytest.raises(ValueError, match="verified: expected a photo"):
            TableRow.model_validate({"verified": True, **row})


def test_an_unknown_variant_is_named(
    workspace: Workspace, params: Params, matrix: Ablation
) -> None:
    with pytest.raises(UserError, match=r"variant clap: .*capture, reference"):
        ablation(workspace, params, matrix, "clap")


def test_a_missing_variant_says_what_to_do(
    tmp_path: Path, workspace: Workspace, params: Params, matrix: Ablation
) -> None:
    class Elsewhere(Workspace):
        ablation = tmp_path

    with pytest.raises(UserError, match=r"capture\.parquet: missing; run `dvc repro ablation"):
        write_table(Elsewhere(workspace.root), params, matrix)


def test_differences_are_paired() -> None:
    ours, theirs = np.asarray([0.9, 0.1, 0.5]), np.asarray([0.8, 0.0, 0.4])
    parts = [
        pd.DataFrame({"row": row, "query": list("abc"), "ap": values, "coverage": values})
        for row, values in (("CAPTURE", ours), ("other", theirs))
    ]
    # The other row's queries come in another order.
    parts[1] = parts[1].iloc[::-1]
    other = compare(pd.concat(parts), 200, 0)[1]
    less = other["mAP of CAPTURE less it"]
    assert isinstance(less, dict)
    assert [less[key] for key in ("low", "mean", "high")] == pytest.approx([0.1] * 3)


def test_a_photo_without_true_boxes_keeps_the_detectors() -> None:
    corners = {"x0": 1.0, "y0": 1.0, "x1": 5.0, "y1": 5.0}
    detected = pd.DataFrame(
        [{"id": "a", **corners, "score": 0.5}, {"id": "b", **corners, "score": 0.4}]
    )
    asked = pd.DataFrame(
        {"id": ["a", "b"], "width": 9, "height": 8, "boxes": [[[2, 2, 4, 4], [5, 5, 8, 8]], None]}
    )
    true = other_boxes(asked, detected, "true")
    assert true["id"].tolist() == ["a", "a", "b"]
    assert true["x1"].tolist() == [4, 8, 5]
    whole = other_boxes(asked, detected, "whole")
    assert whole[["x0", "y0", "x1", "y1"]].to_numpy().tolist() == [[0, 0, 9, 8]] * 2


def test_a_misspelt_key_of_a_variant_is_named(params: Params) -> None:
    with pytest.raises(UserError, match=r"variants\.yaml: pretrain\.losses\.mlmm: unknown key"):
        override(params, {"losses": {"mlmm": 1}})


def test_a_row_that_names_a_product_kept_out_is_not_trained_on() -> None:
    labels = [f"product {number}" for number in range(40)]
    out = [label for label in labels if is_unseen(label, 0.5)]
    assert 8 < len(out) < 32
    kept = next(label for label in labels if label not in out)
    titles = [
        "Arla sour cream",
        "Zucchini class one",
        "SOUR CREAM by Arla free shipping",
        "Zucchini",
    ]
    manifest = pd.DataFrame(
        {
            "split": ["gallery", "gallery", "train", "train"],
            "caption": titles,
            "labels": [[out[0]], [kept], [], []],
        }
    )
    assert naming_unseen(manifest, 0.5).tolist() == [False, False, True, False]
    assert not naming_unseen(manifest, 0.0).any()


@pytest.mark.parametrize("scale", ["tiny", "demo", "full"])
def test_every_shipped_variant_fits_the_shipped_params(tmp_path: Path, scale: str) -> None:
    given = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(given | {"scale": scale}), encoding="utf-8")
    params = load_params(path)
    for variant in Ablation.read(ROOT / MATRIX).variants.values():
        override(params, variant.pretrain)
