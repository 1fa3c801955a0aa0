"""The networks as ONNX files with a dynamic batch, as serving runs them."""

import copy
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    # transformers takes six seconds to import; stages that export no CAPTURE do without.
    from models.detector.network import Detector


def export_detector(detector: "Detector", path: Path) -> None:
    """Write `detector.onnx`, with the names that serving knows."""
    export_image_network(detector, path, "image", detector.config.image_size, ["boxes", "scores"])


def export_image_network(
    network: nn.Module, path: Path, name: str, image_size: int, outputs: list[str]
) -> None:
    """Write a network over images `[B, 3, image_size, image_size]`, its input called `name`."""
    images = torch.zeros(2, 3, image_size, image_size)
    export_network(
        _folded(network), path, {name: (images, {0: torch.export.Dim("batch")})}, outputs
    )


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


def export_network(
    network: nn.Module,
    path: Path,
    inputs: dict[str, tuple[Tensor, dict[int, object]]],
    outputs: list[str],
) -> None:
    """Write a network as ONNX, without what tells the machine that made it.

    Args:
        network: it is left in evaluation mode.
        path: of the file.
        inputs: by name, in the order of `forward`: an example and its dynamic axes.
        outputs: names.
    """
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
