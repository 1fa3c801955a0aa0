import pytest
import torch
from torch import Tensor

from models.capture.network import CaptureConfig, CaptureModel, masked_mean

Inputs = dict[str, Tensor]


@pytest.fixture(scope="module")
def model() -> CaptureModel:
    torch.manual_seed(0)
    config = CaptureConfig(
        vocab_size=50,
        title_tokens=8,
        regions=6,
        visual_dimension=12,
        hidden_size=16,
        intermediate_size=32,
        attention_heads=4,
        text_layers=1,
        visual_layers=1,
        cross_layers=1,
        co_layers=1,
        projection=10,
    )
    return CaptureModel(config).eval()


@pytest.fixture
def inputs() -> Inputs:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(5, 50, (3, 8), generator=generator),
        "attention_mask": torch.ones(3, 8, dtype=torch.long),
        "visual": torch.rand(3, 6, 12, generator=generator),
        "geometry": torch.rand(3, 6, 5, generator=generator),
        "visual_mask": torch.ones(3, 6, dtype=torch.long),
    }


def test_heads_are_unit_rows_of_the_projection_size(model: CaptureModel, inputs: Inputs) -> None:
    output = model(**inputs)
    for head in (output.visual_head, output.text_head, output.joint):
        assert head.shape == (3, 10)
        torch.testing.assert_close(head.norm(dim=1), torch.ones(3))


def test_padding_changes_nothing(model: CaptureModel, inputs: Inputs) -> None:
    inputs["attention_mask"][:, 5:] = 0
    inputs["visual_mask"][:, 4:] = 0
    padded = model(**inputs)
    shorter = model(
        inputs["input_ids"][:, :5],
        inputs["attention_mask"][:, :5],
        inputs["visual"][:, :4],
        inputs["geometry"][:, :4],
        inputs["visual_mask"][:, :4],
    )
    torch.testing.assert_close(padded.joint, shorter.joint)
    torch.testing.assert_close(padded.text_head, shorter.text_head)


def test_a_missing_photo_leaves_no_trace(model: CaptureModel, inputs: Inputs) -> None:
    inputs["visual_mask"][:] = 0
    first = model(**inputs).joint
    inputs["visual"] = torch.rand(3, 6, 12)
    torch.testing.assert_close(model(**inputs).joint, first)


def test_a_missing_title_leaves_no_trace(model: CaptureModel, inputs: Inputs) -> None:
    inputs["attention_mask"][:] = 0
    first = model(**inputs).joint
    inputs["input_ids"] = torch.randint(5, 50, (3, 8))
    torch.testing.assert_close(model(**inputs).joint, first)


def test_each_stream_reaches_the_joint_embedding(model: CaptureModel, inputs: Inputs) -> None:
    joint = model(**inputs).joint
    assert not torch.allclose(model(**{**inputs, "visual": inputs["visual"] * 0}).joint, joint)
    swapped = {**inputs, "input_ids": inputs["input_ids"].flip(0)}
    assert not torch.allclose(model(**swapped).joint, joint)


def test_unimodal_heads_do_not_see_the_other_stream(model: CaptureModel, inputs: Inputs) -> None:
    """The contrastive loss would be solved by copying if they did (paper sec. 3.3)."""
    first = model(**inputs)
    second = model(**{**inputs, "visual": inputs["visual"].flip(0)})
    torch.testing.assert_close(first.text_head, second.text_head)


def test_saved_and_loaded_weights_give_the_same_output(
    model: CaptureModel, inputs: Inputs, tmp_path: object
) -> None:
    model.save_pretrained(tmp_path)
    loaded = CaptureModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(**inputs).joint, model(**inputs).joint)


def test_masked_mean_of_nothing_is_zero() -> None:
    states = torch.rand(1, 3, 4)
    assert masked_mean(states, torch.zeros(1, 3)).abs().sum() == 0
    torch.testing.assert_close(masked_mean(states, torch.ones(1, 3)), states.mean(1))
