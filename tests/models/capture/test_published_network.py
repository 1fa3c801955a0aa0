import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.capture.losses import IGNORED
from models.capture.network import CaptureConfig, CaptureModel
from models.capture.published_network import (
    ReleaseCaptureModel,
    ReleasePretextHeads,
    contrast_release,
)

SIZES = {
    "vocab_size": 50, "title_tokens": 8, "regions": 6, "visual_dimension": 12, "hidden_size": 16,
    "intermediate_size": 32, "attention_heads": 4, "text_layers": 1, "visual_layers": 1,
    "cross_layers": 1, "co_layers": 1, "projection": 10,
}  # fmt: skip
CONFIG = CaptureConfig(architecture="release", **SIZES)


@pytest.fixture(scope="module")
def model() -> ReleaseCaptureModel:
    torch.manual_seed(0)
    return ReleaseCaptureModel(CONFIG).eval()


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(5, 50, (3, 8), generator=generator),
        "attention_mask": torch.ones(3, 8, dtype=torch.long),
        "visual": torch.rand(3, 6, 12, generator=generator),
        "geometry": torch.rand(3, 6, 5, generator=generator),
        "visual_mask": torch.ones(3, 6, dtype=torch.long),
    }


def test_fused_states_have_the_size_of_the_projection(
    model: ReleaseCaptureModel, inputs: dict[str, Tensor]
) -> None:
    output = model(**inputs)
    assert output.text_states.shape == (3, 8, 10)
    assert output.visual_states.shape == (3, 6, 10)
    assert min(output.text_states.min(), output.visual_states.min()) >= 0
    # The joint embedding is the product of what the first places became.
    product = output.text_states[:, 0] * output.visual_states[:, 0]
    expected = torch.nn.functional.normalize(product, dim=1)
    torch.testing.assert_close(output.joint, expected)


def test_pretext_tasks_read_its_fused_states(
    model: ReleaseCaptureModel, inputs: dict[str, Tensor]
) -> None:
    heads, output = ReleasePretextHeads(CONFIG), model(**inputs)
    labels = torch.full((3, 8), IGNORED)
    labels[0, 1] = 4
    masked = torch.zeros(3, 6, dtype=torch.bool)
    masked[1, 2] = True
    losses = [
        heads.masked_language(output, model.word_vectors, labels),
        heads.masked_region(output, inputs["visual"], masked),
        heads.contrastive(output, torch.eye(3), 0.07),
    ]
    assert all(loss.isfinite() and loss > 0 for loss in losses)


def test_other_rows_of_both_kinds_are_negatives() -> None:
    rows = torch.eye(2)
    # Each of four rows: its partner's cosine is 1, the other pair's two are 0.
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    torch.testing.assert_close(contrast_release(rows, rows, 0.5).item(), expected)


def test_saved_and_loaded_weights_give_the_same_output(
    model: ReleaseCaptureModel, inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    loaded = ReleaseCaptureModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(**inputs).joint, model(**inputs).joint)


def test_no_class_reads_the_weights_of_another(model: ReleaseCaptureModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "release")
    CaptureModel(CaptureConfig(**SIZES)).save_pretrained(tmp_path / "unbundle")
    with pytest.raises(ValueError, match="architecture: expected unbundle, found release"):
        CaptureModel.from_pretrained(tmp_path / "release")
    with pytest.raises(ValueError, match="architecture: expected release, found unbundle"):
        ReleaseCaptureModel.from_pretrained(tmp_path / "unbundle")
