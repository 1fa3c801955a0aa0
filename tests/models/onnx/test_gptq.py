import numpy as np
import pytest

from models.onnx.gptq import round_weights

RNG = np.random.default_rng(0)


def moments(inputs: np.ndarray) -> np.ndarray:
    return (inputs @ inputs.T).astype(np.float64)


@pytest.mark.parametrize("most", [8, 64])
def test_outputs_change_less_than_by_rounding_to_nearest(most: int) -> None:
    # Neighbouring channels go together, as those of a photo's features do.
    inputs = RNG.normal(size=(24, 6)) @ RNG.normal(size=(6, 400)) + 0.1 * RNG.normal(size=(24, 400))
    weights = RNG.normal(size=(10, 24)).astype(np.float32)
    rounded, scales = round_weights(weights, moments(inputs), most)
    nearest = np.round(weights / scales[:, None]) * scales[:, None]
    error = np.square((rounded - weights) @ inputs).sum()
    assert error < 0.5 * np.square((nearest - weights) @ inputs).sum()


def test_weights_are_whole_multiples_within_bounds() -> None:
    weights = RNG.normal(size=(5, 12)).astype(np.float32)
    weights[2] = 0
    rounded, scales = round_weights(weights, moments(RNG.normal(size=(12, 50))), 64)
    steps = rounded / scales[:, None]
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert np.abs(steps).max() <= 64.001
    assert not rounded[2].any()


def test_inputs_that_were_never_seen_change_nothing_else() -> None:
    weights = RNG.normal(size=(3, 4)).astype(np.float32)
    rounded, scales = round_weights(weights, np.zeros((4, 4)), 64)
    np.testing.assert_allclose(rounded, weights, atol=scales.max() / 2 + 1e-6)
