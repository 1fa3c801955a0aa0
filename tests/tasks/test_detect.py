import json
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from models.detector.network import Detector
from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tasks.data.manifest import write_manifest
from tasks.detect import detect
from tasks.detection.collect_cutouts import gather_material
from tasks.detection.training import train_detector
from tasks.metrics.detection import Scene, average_precision, recall, summarise
from tests.support.kill_a_stage import process
from unbundle.base.errors import UserError
from unbundle.vision.imaging import letterbox, open_photo
from unbundle.vision.proposals import select_proposals

STEPS = 6


def settings(tmp_path: Path) -> Params:
    text = Path("params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("scale: demo", "scale: tiny"))
    params = load_params(tmp_path / "params.yaml")
    training = params.detect.training.model_copy(update={"steps": STEPS, "checkpoint_steps": 2})
    cutouts = params.detect.cutouts.model_copy(update={"count": 6, "candidates": 10})
    changed = {"training": training, "cutouts": cutouts, "image_size": 64, "pictures": 2}
    return params.model_copy(update={"detect": params.detect.model_copy(update=changed)})


def drawn(random: np.random.Generator, count: int) -> tuple[np.ndarray, list[list[int]]]:
    photo = np.full((90, 120, 3), 255, np.uint8)
    boxes = []
    for place in range(count):
        x, y = 12 + 52 * place, int(random.integers(8, 24))
        colour = random.integers(0, 200, 3).tolist()
        cv2.rectangle(photo, (x, y), (x + 39, y + 49), colour, cv2.FILLED)
        boxes.append([x, y, x + 40, y + 50])
    return photo, boxes


def catalogue(workspace: Workspace) -> pd.DataFrame:
    """Eight train photos of one product, three photos of two; boxes for the queries."""
    random = np.random.default_rng(1)
    rows = []
    plan = [("train", "single", 1)] * 8 + [("train", "multi", 2), ("dev", "multi", 2)]
    plan += [("test", "", 2), ("gallery", "single", 1)]
    for number, (split, kind, count) in enumerate(plan):
        photo, boxes = drawn(random, count)
        image = f"images/{number}.png"
        path = workspace.catalogue / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(path)
        rows.append(
            {
                "id": f"p{number}",
                "image": image,
                "caption": "",
                "labels": ["a"] * count if split in ("dev", "test") else [],
                "split": split,
                "kind": kind,
                "boxes": boxes if split == "dev" else None,
                "width": 120,
                "height": 90,
            }
        )
    frame = pd.DataFrame(rows)
    write_manifest(workspace.manifest, frame)
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Params]:
    root = tmp_path_factory.mktemp("detect")
    workspace, params = Workspace(root), settings(root)
    catalogue(workspace)
    detect(workspace, params)
    return workspace, params


def test_every_photo_has_proposals_in_order(run: tuple[Workspace, Params]) -> None:
    table = pq.read_table(run[0].proposals).to_pandas()
    assert table.columns.tolist() == ["id", "x0", "y0", "x1", "y1", "score"]
    assert (table.dtypes.iloc[1:] == np.float32).all()
    assert table["id"].drop_duplicates().tolist() == [f"p{number}" for number in range(12)]
    for _, rows in table.groupby("id"):
        assert rows["score"].is_monotonic_decreasing
        assert (rows["x1"] > rows["x0"]).all()
        assert rows["x1"].max() <= 120
        assert rows["y1"].max() <= 90


def test_the_saved_detector_makes_the_same_proposals(run: tuple[Workspace, Params]) -> None:
    workspace, params = run
    detector = Detector.from_pretrained(workspace.detector).eval()
    table = pq.read_table(workspace.proposals).to_pandas()
    photo = open_photo(workspace.catalogue / "images/9.png")
    image, factor = letterbox(photo, params.detect.image_size)
    with torch.inference_mode():
        boxes, scores = (output[0].numpy() for output in detector(torch.from_numpy(image)[None]))
    found, _ = select_proposals(
        boxes, scores, factor, 120, 90, **params.detect.proposals.model_dump()
    )
    rows = table[table["id"] == "p9"]
    assert np.allclose(rows[["x0", "y0", "x1", "y1"]], found, atol=1e-3)


def test_metrics_cover_splits_with_boxes_only(run: tuple[Workspace, Params]) -> None:
    metrics = json.loads(run[0].detection_metrics.read_text())
    assert metrics["cutouts"]["flood"] == {"tried": 6, "cut": 6}
    assert metrics["cutouts"]["seeded"] == {"tried": 0, "cut": 0}
    assert metrics["cutouts"]["accepted"] == 1
    assert metrics["dev"]["boxes"] == 2
    assert 0 <= metrics["dev"]["ap50"] <= 1
    assert metrics["test"] == {"photos": 0, "boxes": 0}


def test_pictures_are_written_singly_and_as_sheets(run: tuple[Workspace, Params]) -> None:
    names = {path.name for path in run[0].detection_report.iterdir()}
    for kind in ("pseudo-bundles", "predictions"):
        assert {f"{kind}.png", f"{kind}-01.png", f"{kind}-02.png"} <= names
    assert not list(run[0].checkpoints.rglob("*.pt"))


def _detect_and_die(root: Path) -> None:
    """Run the stage in this process, which SIGKILL ends right after the first checkpoint."""
    replace = Path.replace

    def then_die(source: Path, target: Path) -> Path:
        done = replace(source, target)
        if target.suffix == ".pt":
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Path.replace = then_die  # type: ignore[method-assign, assignment]
    detect(Workspace(root), settings(root))


def test_a_killed_stage_resumes_to_the_same_weights(
    run: tuple[Workspace, Params], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path)
    catalogue(workspace)
    child = process(_detect_and_die, tmp_path)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not workspace.detector.exists()
    detect(workspace, settings(tmp_path))
    assert "going on from step 2" in capsys.readouterr().out
    for before, after in (
        (run[0].proposals, workspace.proposals),
        (run[0].detection_metrics, workspace.detection_metrics),
        (run[0].detector / "model.safetensors", workspace.detector / "model.safetensors"),
        (run[0].detector / "detector.onnx", workspace.detector / "detector.onnx"),
    ):
        assert before.read_bytes() == after.read_bytes()


def test_a_checkpoint_of_other_inputs_is_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, params = Workspace(tmp_path), settings(tmp_path)
    frame = catalogue(workspace)
    material, _ = gather_material(workspace.catalogue, frame, params.detect, params.seed)
    checkpoints = tmp_path / "checkpoints"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        train_detector(material, params.detect, params.seed + 1, checkpoints)
    [other] = checkpoints.glob("*.pt")
    detector = train_detector(material, params.detect, params.seed, checkpoints)
    assert not other.exists()
    assert "going on" not in capsys.readouterr().out
    assert all(torch.isfinite(weight).all() for weight in detector.parameters())


def test_a_catalogue_without_train_photos_of_one_product_is_refused(tmp_path: Path) -> None:
    workspace, params = Workspace(tmp_path), settings(tmp_path)
    frame = catalogue(workspace)
    write_manifest(workspace.manifest, frame[frame["split"] != "train"])
    with pytest.raises(UserError, match="split train"):
        detect(workspace, params)


def scene(boxes: list[list[int]], scores: list[float], truth: list[list[int]]) -> Scene:
    return Scene(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(scores, np.float32),
        np.asarray(truth, np.float32).reshape(-1, 4),
    )


def test_perfect_and_absent_proposals() -> None:
    truth = [[0, 0, 10, 10], [20, 20, 40, 40]]
    assert average_precision([scene(truth, [0.9, 0.8], truth)], 0.95) == 1
    assert average_precision([scene([], [], truth)], 0.5) == 0
    assert recall([scene(truth[:1], [0.9], truth)], 0.5) == 0.5


def test_average_precision_counts_false_and_double_finds() -> None:
    truth = [[0, 0, 10, 10], [20, 20, 40, 40]]
    # Right, a duplicate, right: precision 1 up to recall .5 (51 of 101 recalls), 2/3 beyond.
    found = scene([truth[0], truth[0], truth[1]], [0.9, 0.8, 0.7], truth)
    assert average_precision([found], 0.5) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_scores_are_compared_across_photos() -> None:
    truth = [[0, 0, 10, 10]]
    wrong = scene([[50, 50, 60, 60]], [0.9], [])
    right = scene(truth, [0.5], truth)
    assert average_precision([wrong, right], 0.5) == pytest.approx(0.5)


def test_counts_say_how_often_one_product_is_seen_as_one() -> None:
    one, two = [[0, 0, 10, 10]], [[0, 0, 10, 10], [20, 20, 40, 40]]
    right, split = scene(one, [0.9], one), scene(two, [0.9, 0.8], one)
    figures = summarise([right, split], [right, split])
    assert figures["right_count"] == figures["one_as_one"] == 0.5
    pair = scene(two, [0.9, 0.8], two)
    assert summarise([pair], [pair])["right_count"] == 1
    assert "one_as_one" not in summarise([pair], [pair])


def test_no_true_boxes_give_counts_only() -> None:
    assert summarise([], []) == {"photos": 0, "boxes": 0}
    with pytest.raises(ValueError, match="true box"):
        average_precision([scene([], [], [])], 0.5)
