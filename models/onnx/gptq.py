"""Post-training weight quantisation like GPTQ (Frantar et al., ICLR 2023).

A layer's columns of weights are rounded in their order. The error of each is compensated by the
columns that are still to come, through the Cholesky factor of the inverse Hessian of the layer's
squared output error, which is the second moment of its inputs (optimal brain quantisation).
Unlike there, the grid is symmetric, with one scale per output, and updates are not batched.
"""

import numpy as np
from numpy.typing import NDArray

DAMPING = 0.01
"""Share of the mean second moment that is added to each input's (GPTQ's damping): weights of inputs
that calibration never showed are rounded to nearest."""


def round_weights(
    weights: NDArray[np.float32], moments: NDArray[np.float64], most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Round a matrix to whole multiples of a scale per output.

    Args:
        weights: `[O, I]`.
        moments: `[I, I]`, sum of the outer products of the layer's inputs.
        most: largest multiple, either sign.

    Returns:
        The rounded weights `[O, I]` and the scales `[O]`.
    """
    left = weights.astype(np.float64)
    size = left.shape[1]
    scales = np.abs(left).max(axis=1) / most
    scales[scales == 0] = 1
    damped = moments + np.eye(size) * max(DAMPING * np.trace(moments) / size, 1e-9)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    rounded = np.empty_like(left)
    for column in range(size):
        wanted = left[:, column]
        rounded[:, column] = np.clip(np.round(wanted / scales), -most, most) * scales
        error = (wanted - rounded[:, column]) / factor[column, column]
        left[:, column + 1 :] -= np.outer(error, factor[column, column + 1 :])
    return rounded.astype(np.float32), scales.astype(np.float32)
