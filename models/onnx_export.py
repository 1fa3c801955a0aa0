"""The networks as ONNX files with a dynamic batch, as serving runs them."""

import copy
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    # transformers takes six seconds to import; stages that export no CAPTURE do without.
    from models.capture import CaptureModel
    from models.detector import Detector

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
    _export(
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


def export_detector(detector: "Detector", path: Path) -> None:
    """Write `detector.onnx`, with the names that serving knows."""
    export_image_network(detector, path, "image", detector.config.side, ["boxes", "scores"])


def export_image_network(
    network: nn.Module, path: Path, name: str, side: int, outputs: list[str]
) -> None:
    """Write a network over images `[B, 3, side, side]`, its input called `name`."""
    images = torch.zeros(2, 3, side, side)
    _export(_folded(network), path, {name: (images, {0: torch.export.Dim("batch")})}, outputs)


def image_session(
    network: nn.Module, name: str, side: int, outputs: list[str]
) -> onnxruntime.InferenceSession:
    """A network over images `[B, 3, side, side]` on ONNX Runtime: on CPUs twice torch's speed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_image_network(network, path, name, side, outputs)
        providers = onnxruntime.get_available_providers()
        return onnxruntime.InferenceSession(path.read_bytes(), providers=providers)


def _folded(network: nn.Module) -> nn.Module:
    # Batch norms are a third of the nodes, and tracing costs far more than the network itself.
    # What a network that uses its layers in another order than it lists them would lose here, the
    # export stage's parity check finds.
    folded = copy.deepcopy(network).eval()
    for parent in folded.modules():
        before: tuple[str, nn.Module | None] = ("", None)
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d):
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            before = (name, child)
    return folded


def _export(
    network: nn.Module,
    path: Path,
    inputs: dict[str, tuple[Tensor, dict[int, object]]],
    outputs: list[str],
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch.onnx warns and logs about its own internals and about packages it does without.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            tuple(example for example, _ in inputs.values()),
            path,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple(axes for _, axes in inputs.values()),
        )
    _forget_origins(path)


def _forget_origins(path: Path) -> None:
    # torch writes down which line of which file on this machine made each node: equal networks
    # would differ from clone to clone.
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
    path.write_bytes(model.SerializeToString(deterministic=True))
