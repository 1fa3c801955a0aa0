import json
import shutil
import socket
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from models.backbone.colour_histogram import COLOURS
from models.capture.network import CaptureConfig, CaptureModel
from models.capture.onnx_heads import export_capture
from models.capture.tokenizer import train_tokenizer
from tasks.base.params import load_params
from tasks.pretraining.choose_tokenizer import tokenizer_of
from tests.support.kill_a_stage import run_ranks, run_stage
from unbundle.base.errors import UserError


@pytest.fixture(scope="module")
def root(viewed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with features, and a network that drops nothing: processes draw other noise."""
    folder = tmp_path_factory.mktemp("training")
    root = Path(shutil.copytree(viewed, folder, dirs_exist_ok=True))
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("dropout: 0.1", "dropout: 0.0", 1))
    return root


def _losses(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "metrics/pretraining.json").read_text())
    return found


def test_two_processes_have_the_losses_of_one(root: Path) -> None:
    run_stage(root, "pretrain")
    alone = _losses(root)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run_ranks(root, "pretrain", 2, port)
    together = _losses(root)
    assert together["steps"] == alone["steps"]
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-4)


def test_a_text_encoder_by_path_is_trained_saved_and_exported(root: Path, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["serum rose"], 100)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"vocab_size": tokenizer.get_vocab_size(), "intermediate_size": 32}
    encoder = BertModel(BertConfig(**sizes))
    folder = tmp_path / "encoder"
    encoder.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    text = (root / "params.yaml").read_text()
    changed = text.replace("text_encoder: null", f"text_encoder: {folder}", 1)
    assert changed != text
    (tmp_path / "params.yaml").write_text(changed)
    (tmp_path / "data").symlink_to(root / "data")
    run_stage(tmp_path, "pretrain")
    capture = CaptureModel.from_pretrained(tmp_path / "artifacts/capture").eval()
    before, after = encoder.state_dict(), capture.encoder.state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    export_capture(capture, tmp_path / "capture.onnx")
    ids, words = torch.tensor([[2, 9, 3, 0]]), torch.tensor([[1, 1, 1, 0]])
    visual, places = torch.rand(1, 2, 1280 + COLOURS), torch.rand(1, 2, 5)
    inputs = {
        "input_ids": ids,
        "attention_mask": words,
        "visual": visual,
        "geometry": places,
        "visual_mask": torch.ones(1, 2, dtype=torch.long),
    }
    session = onnxruntime.InferenceSession(tmp_path / "capture.onnx")
    found = session.run(["text_head"], {name: value.numpy() for name, value in inputs.items()})
    torch.testing.assert_close(torch.from_numpy(found[0]), capture(**inputs).text_head)


def test_a_text_encoder_that_is_not_there_is_named(root: Path, tmp_path: Path) -> None:
    params = load_params(root / "params.yaml").pretrain
    missing = params.model_copy(update={"text_encoder": str(tmp_path / "none")})
    with pytest.raises(UserError, match=r"pretrain\.text_encoder: .*none"):
        tokenizer_of(missing, ["rose"])


def test_recomputed_activations_give_the_same_gradients() -> None:
    config = CaptureConfig(
        vocab_size=20, title_tokens=6, regions=4, visual_dimension=8, hidden_size=16,
        intermediate_size=16, attention_heads=2, text_layers=1, visual_layers=1, cross_layers=1,
        co_layers=1, projection=8, dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = CaptureModel(config).train()
    ids, ones = torch.randint(0, 20, (3, 6)), torch.ones(3, 6, dtype=torch.long)
    visual, places = torch.rand(3, 4, 8), torch.rand(3, 4, 5)
    gradients = []
    for recompute in (False, True):
        model.gradient_checkpointing = recompute
        model.zero_grad()
        model(ids, ones, visual, places, ones[:, :4]).joint[:, 0].sum().backward()
        gradients.append([x.grad.clone() for x in model.parameters() if x.grad is not None])
    assert gradients[0]
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


def test_the_benchmark_trains_both_on_the_same_batches(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.pretraining import main

    monkeypatch.chdir(root)
    main(steps=1, write=root / "speed.md")
    told = capsys.readouterr().out
    assert "| straightforward |" in told
    assert float(told.partition("Ratio: ")[2].partition("\n")[0].rstrip(".")) > 0
    assert (root / "speed.md").read_text(encoding="utf-8").strip() in told
