"""A compact anchor-free detector of products, whatever they are: one class, one box per cell.

A frozen EfficientNet-Lite0 with its ImageNet weights sees the photo at strides 8, 16 and 32; a
top-down path (feature pyramid, Lin et al., CVPR 2017) carries what the coarse levels saw back to
stride 8, where every cell predicts the distances from its centre to the four sides of a box (FCOS,
Tian et al., ICCV 2019) and one score that is trained to be the box's quality
(`models.detector.loss`). Only the path and the head learn, so that a photo's features are computed
once, however many steps train on it.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from models.backbone.network import IMAGENET_MEAN, IMAGENET_STD, lite0, lite0_weights

STRIDE = 8
"""Input pixels per prediction cell."""

COARSEST = 32
"""Input pixels per cell of the deepest features; the image size is a multiple of it."""

_LAST_BLOCKS = (4, 10, 15)  # of EfficientNet-Lite0, at strides 8, 16 and 32
_CHANNELS = (40, 112, 320)
_LARGEST = 4.0
_START = 1.4
_RARE = -4.0


class DetectorConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers ships no types
    """Sizes of a `Detector`.

    Attributes:
        image_size: longer and shorter side of the input in pixels, a multiple of 32.
        head_width: channels of the top-down path and of the head.
        depths: residual blocks of the path at strides 8, 16 and 32.
    """

    model_type = "unbundle-detector"
    # `config.json` calls it `side`, as the detectors do that were written before.
    attribute_map: ClassVar = {"image_size": "side"}

    def __init__(
        self,
        image_size: int = 192,
        head_width: int = 48,
        depths: Sequence[int] = (1, 2, 1),
        **kwargs: Any,
    ) -> None:
        image_size = kwargs.pop("side", image_size)
        if image_size % COARSEST:
            raise ValueError(f"image_size: expected a multiple of {COARSEST}, found {image_size}")
        if len(depths) != len(_CHANNELS):
            raise ValueError("depths: expected three values, for strides 8, 16 and 32")
        self.image_size = image_size
        self.head_width = head_width
        self.depths = list(depths)
        super().__init__(**kwargs)


def _convolution(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width)
        self.second = _convolution(width)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.second(self.first(features))
        return added


class FrozenFeatures(nn.Module):
    """EfficientNet-Lite0 without its classifier; never in training mode."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = lite0()
        # What comes after the last block is for classes.
        del self.network._conv_head, self.network._bn1, self.network._fc
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenFeatures":
        """Stay in evaluation mode: the running statistics are frozen, too."""
        return super().train(False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features `[B, 40, S / 8, S / 8]`, `[B, 112, S / 16, …]`, `[B, 320, S / 32, …]`.

        Args:
            image: `[B, 3, S, S]` float32, RGB in 0..1.
        """
        network = self.network
        normalised = (image - self.mean) / self.std
        features = network._swish(network._bn0(network._conv_stem(normalised)))
        levels = []
        for place, block in enumerate(network._blocks):
            features = block(features)
            if place in _LAST_BLOCKS:
                levels.append(features)
        return levels[0], levels[1], levels[2]


class Head(nn.Module):
    """The part of the detector that learns."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        width = config.head_width
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
            for channels in _CHANNELS
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(_Residual(width) for _ in range(depth))) for depth in config.depths
        )
        self.tower = _convolution(width)
        self.score = nn.Conv2d(width, 1, 1)
        self.distances = nn.Conv2d(width, 4, 1)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes `[B, A, 4]` and score logits `[B, A]` of `FrozenFeatures`' levels.

        Boxes are x0, y0, x1, y1 in input pixels; cells in reading order, A = (image_size / 8)².
        """
        merged = self.blocks[2](self.lateral[2](coarse))
        for place, level in ((1, middle), (0, fine)):
            finer = F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = self.blocks[place](finer + self.lateral[place](level))
        merged = self.tower(merged)
        distances = self.distances(merged).float().flatten(2).transpose(1, 2)
        reach = distances.clamp(-_LARGEST, _LARGEST).exp() * STRIDE
        centres = cell_centres(merged.shape[-1] * STRIDE, merged.device)
        boxes = torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], dim=-1)
        return boxes, self.score(merged).float().flatten(1)


class Detector(PreTrainedModel):  # type: ignore[misc]  # transformers ships no types
    """Finds products in letterboxed photos (`unbundle.vision.imaging.letterbox`)."""

    config_class = DetectorConfig
    main_input_name = "image"

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        self.features = FrozenFeatures()
        self.head = Head(config)
        self.post_init()

    @classmethod
    def untrained(cls, config: DetectorConfig) -> "Detector":
        """A head at its start on features with their ImageNet weights."""
        detector = cls(config)
        detector.features.network.load_state_dict(lite0_weights(), strict=False)
        return detector

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        # Few cells hold a product: scores start low, boxes at a middling size.
        for layer, start in ((self.head.score, _RARE), (self.head.distances, _START)):
            if module is layer:
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.get_parameter("bias"), start)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes `[B, A, 4]` in input pixels and scores `[B, A]` in 0..1.

        Args:
            image: `[B, 3, image_size, image_size]` float32, RGB in 0..1.
        """
        boxes, logits = self.head(*self.features(image))
        return boxes, logits.sigmoid()


def cell_centres(image_size: int, device: torch.device | None = None) -> Tensor:
    """Centres `[A, 2]` (x, y in input pixels) of the prediction cells, in reading order."""
    line = (torch.arange(image_size // STRIDE, device=device, dtype=torch.float32) + 0.5) * STRIDE
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=-1)
