"""A compact anchor-free detector of products, whatever they are: one class, one box per cell.

A residual network brings the photo down to stride 32; a top-down path (feature pyramid, Lin et al.,
CVPR 2017) carries what it saw back to stride 8, where every cell predicts the distances from its
centre to the four sides of a box (FCOS, Tian et al., ICCV 2019) and one score that is trained to
be the box's quality (`models.detector_loss`). Large products are seen through the stride-32 branch.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

STRIDE = 8
"""Input pixels per prediction cell."""

COARSEST = 32
"""Input pixels per cell of the deepest features; the input side is a multiple of it."""

_LARGEST = 4.0
_START = 1.4
_RARE = -4.0


class DetectorConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers ships no types
    """Sizes of a `Detector`.

    Attributes:
        side: input side in pixels, a multiple of 32.
        widths: channels at strides 4, 8, 16 and 32.
        depths: residual blocks at strides 4, 8, 16 and 32.
        head_width: channels of the top-down path and of the head.
    """

    model_type = "unbundle-detector"

    def __init__(
        self,
        side: int = 192,
        widths: Sequence[int] = (32, 48, 96, 128),
        depths: Sequence[int] = (0, 1, 2, 1),
        head_width: int = 48,
        **kwargs: Any,
    ) -> None:
        if side % COARSEST:
            raise ValueError(f"side: expected a multiple of {COARSEST}, found {side}")
        if not len(widths) == len(depths) == 4:
            raise ValueError("widths and depths: expected four values, for strides 4, 8, 16, 32")
        self.side = side
        self.widths = list(widths)
        self.depths = list(depths)
        self.head_width = head_width
        super().__init__(**kwargs)


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    padding = (kernel - stride + 1) // 2 if stride > 1 else kernel // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = _convolution(width, width)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.second(self.first(features))
        return added


class Detector(PreTrainedModel):  # type: ignore[misc]  # transformers ships no types
    """Finds products in letterboxed photos (`serving.imaging.letterbox`)."""

    config_class = DetectorConfig
    main_input_name = "image"

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        widths, head = config.widths, config.head_width
        # Stride 4 at once: at full resolution even few channels would cost a third of the time.
        entries = [_convolution(3, widths[0], kernel=6, stride=4)]
        entries += [_convolution(i, o, stride=2) for i, o in pairwise(widths)]
        self.stages = nn.ModuleList(
            nn.Sequential(entry, *(_Residual(width) for _ in range(depth)))
            for entry, width, depth in zip(entries, widths, config.depths, strict=True)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, head, 1) for width in widths[1:])
        self.merge = _Residual(head)
        self.tower = _convolution(head, head)
        self.score = nn.Conv2d(head, 1, 1)
        self.distances = nn.Conv2d(head, 4, 1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        # Few cells hold a product: scores start low, boxes at a middling size.
        for layer, start in ((self.score, _RARE), (self.distances, _START)):
            if module is layer:
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.get_parameter("bias"), start)

    def predict(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and score logits, before the sigmoid.

        Args:
            image: `[B, 3, side, side]` float32, RGB in 0..1.

        Returns:
            Boxes `[B, A, 4]` (x0, y0, x1, y1 in input pixels) and logits `[B, A]`, float32, of the
            cells in reading order, A = (side / 8)².
        """
        features = image * 2 - 1
        pyramid = []
        for stage in self.stages:
            features = stage(features)
            pyramid.append(features)
        merged = self.lateral[-1](pyramid[-1])
        for lateral, finer in zip(self.lateral[-2::-1], pyramid[-2:0:-1], strict=True):
            merged = F.interpolate(merged, scale_factor=2.0, mode="nearest") + lateral(finer)
        merged = self.tower(self.merge(merged))
        distances = self.distances(merged).float().flatten(2).transpose(1, 2)
        reach = distances.clamp(-_LARGEST, _LARGEST).exp() * STRIDE
        centres = cell_centres(self.config.side, image.device)
        boxes = torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], dim=-1)
        return boxes, self.score(merged).float().flatten(1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes `[B, A, 4]` in input pixels and scores `[B, A]` in 0..1; otherwise as `predict`."""
        boxes, logits = self.predict(image)
        return boxes, logits.sigmoid()


def cell_centres(side: int, device: torch.device | None = None) -> Tensor:
    """Centres `[A, 2]` (x, y in input pixels) of the prediction cells, in reading order."""
    line = (torch.arange(side // STRIDE, device=device, dtype=torch.float32) + 0.5) * STRIDE
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=-1)
