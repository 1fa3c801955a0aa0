"""Convolutional networks in int8, by ONNX Runtime's quantiser (static, QDQ).

Activations have 8 bits and scales from calibration, weights a scale per channel.

Weights have 7 bits where products are summed in pairs: CPUs without VNNI do so in 16 bits, which 8
bits overflow, and with 7 every CPU computes the same vectors. Rounded to nearest, 7 bits would make
most of the error: convolutions of 1 x 1, which hold most weights, are rounded by
`models.onnx.gptq`. Depthwise convolutions are not summed in pairs; they keep 8 bits, which they
need.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from models.onnx.gptq import round_weights

Inputs = Mapping[str, NDArray[Any]]

FLOAT_CONVOLUTIONS = 9
"""Convolutions next to the pixels that stay fp32: a twentieth of the time, most of the error."""

SEVEN_BITS = 64
"""Largest weight where products are summed in pairs: 2 x 255 x 64 is just below 2 to the 15th."""

_CELLS = 3000  # of each batch, more than there are channels
_OPERATORS = ["Conv", "Add", "Clip", "Relu"]


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, batches: Iterable[Inputs]) -> None:
        self._batches: Iterator[Inputs] = iter(batches)

    def get_next(self) -> Inputs | None:
        return next(self._batches, None)


def quantise(path: Path, batches: Iterable[Inputs]) -> None:
    """Replace a network by its int8 twin, of the same inputs and outputs.

    Args:
        path: of the network.
        batches: inputs by name, like those that it will see.

    Raises:
        ValueError: the network has next to no convolutions.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
        model = onnx.load(path)
        # Shapes that torch wrote down contradict those that the quantiser infers.
        del model.graph.value_info[:]
        onnx.save(model, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        nodes = [node for node in model.graph.node if node.op_type == "Conv"]
        if len(nodes) <= FLOAT_CONVOLUTIONS:
            raise ValueError(f"{len(nodes)} convolutions: int8 is for convolutional networks")
        inputs = list(batches)
        chosen = [node for node in nodes[FLOAT_CONVOLUTIONS:] if not _is_depthwise(node)]
        scales = {
            node.input[1]: [{"quant_type": QuantType.QInt8, "axis": 0, "reduce_range": True}]
            for node in chosen
        }
        scales |= _round_pointwise(model, chosen, inputs, prepared)
        quantize_static(
            prepared,
            path,
            _Batches(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in nodes[:FLOAT_CONVOLUTIONS]] + _apart(model),
            extra_options={"TensorQuantOverrides": scales},
        )


def _apart(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that read no convolution: what counts colours is exact and stays so."""
    convolved: set[str] = set()
    apart = []
    for node in model.graph.node:
        if node.op_type == "Conv" or convolved.intersection(node.input):
            convolved.update(node.output)
        else:
            apart.append(node.name)
    return apart


def _round_pointwise(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], batches: list[Inputs], path: Path
) -> dict[str, list[dict[str, Any]]]:
    """Write the model with rounded 1 x 1 convolutions to `path`; returns their scales by weight."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    pointwise = [node for node in nodes if list(stored[node.input[1]].dims[2:]) == [1, 1]]
    moments = _moments(model, sorted({node.input[0] for node in pointwise}), batches)
    scales = {}
    for node in pointwise:
        name = node.input[1]
        weights = numpy_helper.to_array(stored[name])
        flat = weights.reshape(weights.shape[:2])
        rounded, steps = round_weights(flat, moments[node.input[0]], SEVEN_BITS)
        tensor = numpy_helper.from_array(rounded.reshape(weights.shape), name)
        stored[name].CopyFrom(tensor)
        scales[name] = [
            {
                "quant_type": QuantType.QInt8,
                "axis": 0,
                "scale": np.asarray(step, np.float32),
                "zero_point": np.asarray(0, np.int8),
            }
            for step in steps
        ]
    onnx.save(model, path)
    return scales


def _moments(
    model: onnx.ModelProto, names: list[str], batches: list[Inputs]
) -> dict[str, NDArray[np.float64]]:
    """Sums of the outer products `[C, C]` of some maps' channels, over evenly spread cells."""
    spied = onnx.ModelProto()
    spied.CopyFrom(model)
    spied.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(
        spied.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    for batch in batches:
        for name, values in zip(names, session.run(names, batch), strict=True):
            cells = values.swapaxes(0, 1).reshape(values.shape[1], -1)
            cells = cells[:, :: max(1, cells.shape[1] // _CELLS)].astype(np.float64)
            sums[name] = sums[name] + cells @ cells.T
    return sums


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
