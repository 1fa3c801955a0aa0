"""Means over the cells of a grid, as a fixed matrix along each axis.

Adaptive pooling to a size that does not divide the map has no ONNX operator; this is the same sum.
"""

import torch
from torch import Tensor


def pooled(maps: Tensor, side: int) -> Tensor:
    """Means `[N, C, side, side]` over the cells of maps `[N, C, h, w]`."""
    vertical = torch.tensor(_averages(maps.shape[2], side)).to(maps)
    horizontal = torch.tensor(_averages(maps.shape[3], side)).to(maps)
    return vertical @ maps @ horizontal.T


def _averages(length: int, cells: int) -> list[list[float]]:
    """The matrix `[cells, length]` that takes the mean of each cell of a line of `length`."""
    # Numbers, not tensor operations: an export would write those down one by one.
    bounds = [(cell * length // cells, -(-(cell + 1) * length // cells)) for cell in range(cells)]
    return [
        [(start <= place < end) / (end - start) for place in range(length)] for start, end in bounds
    ]
