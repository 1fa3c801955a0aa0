"""A bundle whose backbone is int8, made by the stage and run by the encoder."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from models.backbone.colour_histogram import COLOURS
from models.capture.network import CaptureConfig, CaptureModel
from models.capture.tokenizer import train_tokenizer
from models.detector.network import Detector, DetectorConfig
from models.onnx.export import export_detector
from models.onnx.quantization import quantise
from tasks.base.params import Params, Precisions
from tasks.base.workspace import Workspace
from tasks.export import export
from unbundle.encoding.model_bundle import Bundle, Int8Cost, Interval
from unbundle.encoding.query_encoder import Encoder
from unbundle.vision.imaging import open_photo

PRECISION = {"detector": "fp32", "backbone": "int8"}


@pytest.fixture(scope="module")
def workspace(
    viewed: Path, tmp_path_factory: pytest.TempPathFactory, tiny_params: Params
) -> Workspace:
    """An exported bundle of untrained networks on the pretrained backbone."""
    folder = tmp_path_factory.mktemp("export")
    workspace = Workspace(Path(shutil.copytree(viewed, folder, dirs_exist_ok=True)))
    size, model = tiny_params.detect.image_size, tiny_params.pretrain.model
    config = DetectorConfig(image_size=size, head_width=8, depths=(1, 1, 1))
    detector = Detector.untrained(config).eval()
    detector.save_pretrained(workspace.detector)
    export_detector(detector, workspace.detector_network)
    tokenizer = train_tokenizer(["serum rose"], 100)
    sizes = model.model_dump() | {"vocab_size": tokenizer.get_vocab_size()}
    config = CaptureConfig(visual_dimension=1280 + COLOURS, **sizes)
    CaptureModel(config).save_pretrained(workspace.capture)
    tokenizer.save(str(workspace.capture / "tokenizer.json"))
    chosen = {"precision": Precisions.model_validate(PRECISION)}
    section = tiny_params.export.model_copy(update=chosen)
    export(workspace, tiny_params.model_copy(update={"export": section}))
    return workspace


@pytest.fixture(scope="module")
def settings(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.bundle / "bundle.json").read_text())
    return found


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_params_choose_the_precision_of_each_network(
    workspace: Workspace, settings: dict[str, Any]
) -> None:
    assert settings["precision"] == PRECISION
    assert Bundle.open(workspace.bundle).precision.model_dump() == PRECISION
    assert not operators(workspace.bundle / "detector.onnx")["QuantizeLinear"]
    assert operators(workspace.bundle / "backbone.onnx")["QuantizeLinear"] > 40


def test_the_bundle_says_what_int8_costs(settings: dict[str, Any]) -> None:
    assert set(settings["int8"]["networks"]) == {"backbone"}
    assert settings["int8"]["networks"]["backbone"]["min_cosine"] > 0.9
    cost = settings["int8"]["cost"]
    assert cost["queries"] == 20
    assert cost["mAP@10"]["low"] <= cost["mAP@10"]["mean"] <= cost["mAP@10"]["high"]
    # Parity is of the fp32 networks: what int8 rounds must not hide a broken export.
    assert min(found["min_cosine"] for found in settings["parity"].values()) > 0.9999


def test_int8_that_costs_too_much_is_declined(
    workspace: Workspace, tiny_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Interval(mean=-0.02, low=-0.03, high=-0.01)
    loss = Int8Cost(queries=20, average_precision=lost, coverage=lost)
    monkeypatch.setattr("tasks.model_bundle.choose_precision.cost", lambda *_: loss)
    mine = Workspace(Path(shutil.copytree(workspace.root, tmp_path, dirs_exist_ok=True)))
    limited = {
        "export": tiny_params.export.model_copy(
            update={"precision": Precisions.model_validate(PRECISION)}
        ),
        "promote": tiny_params.promote.model_copy(update={"max_int8_loss": 0.01}),
    }
    export(mine, tiny_params.model_copy(update=limited))
    bundle = Bundle.open(mine.bundle)
    assert bundle.precision.model_dump() == {"detector": "fp32", "backbone": "fp32"}
    assert not operators(mine.bundle / "backbone.onnx")["QuantizeLinear"]
    assert bundle.int8 is None
    assert bundle.declined_int8 is not None
    assert bundle.declined_int8.cost == loss


def test_int8_answers_nearly_as_fp32_and_in_batches_as_alone(
    workspace: Workspace, settings: dict[str, Any], tmp_path: Path
) -> None:
    plain = Path(shutil.copytree(workspace.bundle, tmp_path / "plain"))
    shutil.copyfile(workspace.features / "backbone.onnx", plain / "backbone.onnx")
    bundle = Bundle.open(workspace.bundle)
    encoder = Encoder(bundle, threads=1)
    exact = Encoder(bundle.model_copy(update={"folder": plain}), threads=1)
    photos = [open_photo(workspace.catalogue / f"images/{number}.png") for number in range(4)]
    whole = [[0.0, 0.0, 40.0, 48.0], [4.0, 4.0, 30.0, 40.0]]
    cosines = [
        np.sum(
            encoder.encode(photo, "", whole).heads["raw"]
            * exact.encode(photo, "", whole).heads["raw"],
            axis=1,
        )
        for photo in photos
    ]
    assert 0.9 < np.min(cosines) < 0.999999
    # Colours are counted, not estimated: int8 leaves them alone.
    np.testing.assert_allclose(
        encoder.encode(photos[0], "", whole).heads["colour"],
        exact.encode(photos[0], "", whole).heads["colour"],
        atol=1e-5,
    )
    together = encoder.encode(photos[0], "", whole).heads["raw"]
    alone = [encoder.encode(photos[0], "", [box]).heads["raw"] for box in whole]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_weights_that_cpus_sum_in_pairs_have_seven_bits(workspace: Workspace) -> None:
    graph = onnx.load(workspace.bundle / "backbone.onnx").graph
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    scaled = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    largest = {"depthwise": 0, "pointwise": 0}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in scaled:
            weights = values[scaled[node.input[1]].input[0]]
            kind = "depthwise" if weights.shape[1] == 1 else "pointwise"
            largest[kind] = max(largest[kind], int(np.abs(weights.astype(int)).max()))
    assert largest["pointwise"] <= 64
    assert largest["depthwise"] > 64


def test_bundles_name_no_file_of_the_machine_that_made_them(workspace: Workspace) -> None:
    for name in ("detector.onnx", "backbone.onnx", "capture.onnx"):
        assert b"stack_trace" not in (workspace.bundle / name).read_bytes()


def test_a_transformer_is_no_network_for_int8(workspace: Workspace, tmp_path: Path) -> None:
    path = Path(shutil.copy(workspace.bundle / "capture.onnx", tmp_path / "backbone.onnx"))
    with pytest.raises(ValueError, match="0 convolutions: int8 is for convolutional networks"):
        quantise(path, [])
