import json
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from models.backbone.network import lite0_weights
from models.detector.loss import assign, detection_loss, pairwise_overlap
from models.detector.network import STRIDE, Detector, DetectorConfig, cell_centres

SMALL = {"image_size": 64, "head_width": 16, "depths": (1, 1, 0)}


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    model = Detector.untrained(DetectorConfig(**SMALL))
    # A few batches give the normalisation statistics that differ from its start.
    for _ in range(3):
        model.train()(torch.rand(4, 3, 64, 64))
    return model.eval()


def test_features_are_frozen_and_pretrained(detector: Detector) -> None:
    assert not any(weight.requires_grad for weight in detector.features.parameters())
    assert not any(module.training for module in detector.train().features.modules())
    stem = detector.features.network._conv_stem.weight
    assert torch.equal(stem, lite0_weights()["_conv_stem.weight"])


def test_every_cell_predicts_a_box_and_a_score(detector: Detector) -> None:
    with torch.inference_mode():
        boxes, scores = detector(torch.rand(2, 3, 64, 64))
    cells = (64 // STRIDE) ** 2
    assert boxes.shape == (2, cells, 4)
    assert scores.shape == (2, cells)
    assert ((scores >= 0) & (scores <= 1)).all()
    centres = cell_centres(64)
    assert (boxes[..., :2] < centres).all()
    assert (boxes[..., 2:] > centres).all()


def test_cells_are_in_reading_order() -> None:
    assert cell_centres(32)[:5].tolist() == [[4, 4], [12, 4], [20, 4], [28, 4], [4, 12]]


def test_saved_detector_gives_the_same_boxes(detector: Detector, tmp_path: Path) -> None:
    detector.save_pretrained(tmp_path)
    restored = Detector.from_pretrained(tmp_path).eval()
    assert json.loads((tmp_path / "config.json").read_text())["side"] == 64
    assert restored.config.image_size == 64
    photo = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        for before, after in zip(detector(photo), restored(photo), strict=True):
            assert torch.equal(before, after)


@pytest.mark.parametrize("wrong", [{"image_size": 100}, {"depths": (1, 1)}])
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        DetectorConfig(**wrong)


def test_onnx_takes_any_batch_and_agrees(detector: Detector, tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():
        # The exporter uses deprecated parts of its own libraries.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            detector,
            (torch.rand(2, 3, 64, 64),),
            input_names=["image"],
            output_names=["boxes", "scores"],
            dynamic_shapes={"image": {0: batch}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(tmp_path / "detector.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    for size in (1, 3):
        photos = torch.rand(size, 3, 64, 64)
        with torch.inference_mode():
            wanted = [output.numpy() for output in detector(photos)]
        found = session.run(None, {"image": photos.numpy()})
        assert np.abs(found[0] - wanted[0]).max() < 1e-3
        assert np.abs(found[1] - wanted[1]).max() < 1e-5


def test_overlap_of_known_boxes() -> None:
    first = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]])
    second = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3]])
    iou, giou = pairwise_overlap(first, second)
    assert iou.tolist() == pytest.approx([1, 1 / 3, 0])
    # Apart: minus the share of the hull that neither covers.
    assert giou.tolist() == pytest.approx([1, 1 / 3, -7 / 9])


def test_background_cells_and_padding_get_no_product() -> None:
    centres = cell_centres(32)
    boxes = torch.cat([centres - 4, centres + 4], dim=-1)[None]
    products = torch.tensor([[[0.0, 0, 8, 8], [0, 0, 32, 32]]])
    present = torch.tensor([[True, False]])
    found = assign(boxes, torch.full((1, 16), 0.5), centres, products, present, 4, 2.0)
    assert found.quality[0].tolist() == pytest.approx([1.0] + [0.0] * 15)


def test_a_cell_that_two_products_want_takes_the_one_it_covers_more() -> None:
    centres = cell_centres(32)
    boxes = torch.cat([centres - 4, centres + 4], dim=-1)[None]
    products = torch.tensor([[[0.0, 0, 32, 32], [8, 8, 17, 17]]])
    found = assign(
        boxes, torch.full((1, 16), 0.5), centres, products, torch.ones(1, 2).bool(), 16, 1
    )
    assert found.target[0, 5] == 1
    assert found.target[0, 0] == 0


def test_training_finds_a_bright_square() -> None:
    torch.manual_seed(0)
    model = Detector.untrained(DetectorConfig(**SMALL)).train()
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=5e-3)
    random = np.random.default_rng(0)
    for _ in range(60):
        images = torch.zeros(8, 3, 64, 64)
        products = torch.zeros(8, 1, 4)
        for row in range(8):
            x, y = random.integers(0, 40, 2).tolist()
            images[row, :, y : y + 20, x : x + 20] = 1
            products[row, 0] = torch.tensor([x, y, x + 20, y + 20])
        boxes, logits = model.head(*model.features(images))
        losses = detection_loss(
            boxes,
            logits,
            cell_centres(64),
            products,
            torch.ones(8, 1).bool(),
            candidates=5,
            sharpness=2.0,
            box_weight=2.0,
        )
        optimizer.zero_grad()
        (losses[0] + losses[1]).backward()
        optimizer.step()
    photo = torch.zeros(1, 3, 64, 64)
    photo[:, :, 30:50, 10:30] = 1
    with torch.inference_mode():
        boxes, scores = model.eval()(photo)
    best = boxes[0, scores[0].argmax()]
    iou, _ = pairwise_overlap(best, torch.tensor([10.0, 30, 30, 50]))
    assert iou > 0.6
