"""CAPTURE as a shop runs it: tensors in, five heads out, as an ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.onnx.export import export_network

if TYPE_CHECKING:
    # transformers takes six seconds to import; stages that export no CAPTURE do without.
    from models.capture.network import CaptureModel


HEADS = ("visual_head", "text_head", "read", "alignment", "joint")
"""Outputs of `capture.onnx`: `[B, projection]` each, `alignment` `[B, T]`."""


class CaptureHeads(nn.Module):
    """CAPTURE as serving needs it: tensors in, five heads out, see `HEADS`."""

    def __init__(self, capture: "CaptureModel") -> None:
        super().__init__()
        self.capture = capture

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        visual: Tensor,
        geometry: Tensor,
        visual_mask: Tensor,
    ) -> tuple[Tensor, ...]:
        """The outputs in the order of `HEADS`."""
        output = self.capture(input_ids, attention_mask, visual, geometry, visual_mask)
        return tuple(getattr(output, name) for name in HEADS)


def export_capture(capture: "CaptureModel", path: Path) -> None:
    """Write `capture.onnx`; batch, title length and number of regions are dynamic."""
    config = capture.config
    # Each input needs a tensor of its own: inputs that share one are exported as one.
    titles, words = torch.ones(2, 2, config.title_tokens, dtype=torch.long)
    regions = torch.zeros(2, config.regions, config.visual_dimension)
    places = torch.zeros(2, config.regions, 5)
    shown = torch.ones(2, config.regions, dtype=torch.long)
    batch, length, count = (torch.export.Dim(name) for name in ("batch", "length", "count"))
    export_network(
        CaptureHeads(capture),
        path,
        {
            "input_ids": (titles, {0: batch, 1: length}),
            "attention_mask": (words, {0: batch, 1: length}),
            "visual": (regions, {0: batch, 1: count}),
            "geometry": (places, {0: batch, 1: count}),
            "visual_mask": (shown, {0: batch, 1: count}),
        },
        list(HEADS),
    )
