"""Networks in int8, by ONNX Runtime's quantiser.

Convolutional networks get fixed scales from calibration (static, QDQ): activations 8 bits, weights
per channel. Transformers get their activations' scales while they run (dynamic).

Weights have 7 bits where products are summed in pairs: CPUs without VNNI do so in 16 bits, which 8
bits overflow, and with 7 every CPU computes the same vectors. Depthwise convolutions are not
computed that way; they keep 8 bits, which they need.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

Inputs = Mapping[str, NDArray[Any]]

FLOAT_CONVOLUTIONS = 5
"""Convolutions next to the pixels that stay fp32: a fiftieth of the time, and half of the error."""

_STATIC = ["Conv", "Add", "Clip", "Relu"]
_DYNAMIC = ["MatMul", "Gemm"]


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, batches: Iterable[Inputs]) -> None:
        self._batches: Iterator[Inputs] = iter(batches)

    def get_next(self) -> Inputs | None:
        return next(self._batches, None)


def quantise(path: Path, batches: Iterable[Inputs]) -> None:
    """Replace a network by its int8 twin, of the same inputs and outputs.

    Args:
        path: of the network.
        batches: inputs by name, like those that it will see; read for convolutional networks only.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
        model = onnx.load(path)
        # Shapes that torch wrote down contradict those that the quantiser infers.
        del model.graph.value_info[:]
        onnx.save(model, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        nodes = [node for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
        if len(nodes) > FLOAT_CONVOLUTIONS:
            _static(prepared, path, batches, nodes)
        else:
            quantize_dynamic(
                prepared,
                path,
                op_types_to_quantize=_DYNAMIC,
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )


def _static(
    source: Path, target: Path, batches: Iterable[Inputs], convolutions: list[onnx.NodeProto]
) -> None:
    narrow = {
        node.input[1]: [{"quant_type": QuantType.QInt8, "axis": 0, "reduce_range": True}]
        for node in convolutions
        if not _is_depthwise(node)
    }
    quantize_static(
        source,
        target,
        _Batches(batches),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_STATIC,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[node.name for node in convolutions[:FLOAT_CONVOLUTIONS]],
        extra_options={"TensorQuantOverrides": narrow},
    )


def _is_depthwise(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


@contextmanager
def _quiet() -> Iterator[None]:
    # The quantiser talks to the root logger about its own steps.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
