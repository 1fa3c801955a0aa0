import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from models.backbone.colour_histogram import COLOURS
from models.backbone.network import LITE0, Backbone, load_backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(LITE0, grid=3)


def test_tokens_are_the_pooled_map_and_its_cells(backbone: Backbone) -> None:
    crops = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens, features = backbone(crops), backbone.feature_map(crops)
    assert tokens.shape == (2, 10, 1280 + COLOURS)
    torch.testing.assert_close(tokens[:, 0, :1280], features.mean(dim=(2, 3)))
    cells = adaptive_avg_pool2d(features, 3).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens[:, 1:, :1280], cells, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tokens[:, :, 1280:], backbone.colours(crops))


def test_the_weights_are_pretrained(backbone: Backbone) -> None:
    """A crop and its mirror image stay closer than two different pictures."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 7, 7, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, size=224, mode="bicubic") * 2 - 1
    with torch.inference_mode():
        tokens = backbone(torch.cat([pictures, pictures.flip(3)]))[:, 0]
    rows = torch.nn.functional.normalize(tokens, dim=1)
    assert rows[0] @ rows[2] > rows[0] @ rows[1]
    assert not any(weight.requires_grad for weight in backbone.parameters())


def test_a_hugging_face_backbone_by_local_path(tmp_path: object) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        patch_size=16,
    )
    ViTModel(config).save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), grid=2)
    with torch.inference_mode():
        assert backbone(torch.zeros(3, 3, 64, 64)).shape == (3, 5, 16 + COLOURS)
