import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.backbone.colour_histogram import COLOURS, HUES, LIGHTNESSES, ColourHistogram
from models.backbone.network import IMAGENET_MEAN, IMAGENET_STD
from unbundle.vision.imaging import crops, normalise

NETWORK = ColourHistogram(IMAGENET_MEAN, IMAGENET_STD, grid=3)


def histograms(photo: NDArray[np.uint8], side: int = 224) -> NDArray[np.float32]:
    """Shares of the bins `[10, LIGHTNESSES, HUES, HUES]` of a whole photo."""
    box = np.asarray([[0, 0, photo.shape[1], photo.shape[0]]], np.float32)
    inputs = normalise(crops(photo, box, side), IMAGENET_MEAN, IMAGENET_STD)
    found = NETWORK(torch.from_numpy(inputs))[0].numpy() ** 2 / COLOURS
    return np.asarray(found.reshape(-1, LIGHTNESSES, HUES, HUES))


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plain(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((80, 80, 3), colour, np.uint8)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 255), st.sampled_from([96, 224]))
@settings(deadline=None, max_examples=30)
def test_every_histogram_is_a_distribution(height: int, width: int, most: int, side: int) -> None:
    found = histograms(np.minimum(noise(height, width), most).astype(np.uint8), side)
    assert found.shape[0] == 10
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("colour", "lightness"), [((0, 0, 0), 0), ((119, 119, 119), 1), ((255, 255, 255), 2)]
)
def test_greys_differ_by_lightness_and_lie_between_the_middle_hues(
    colour: tuple[int, int, int], lightness: int
) -> None:
    whole = histograms(plain(colour))[0]
    assert (
        whole[lightness, HUES // 2 - 1 : HUES // 2 + 1, HUES // 2 - 1 : HUES // 2 + 1].sum() > 0.95
    )


def test_hues_lie_on_their_axes() -> None:
    """CIELAB's a runs from green to red, b from blue to yellow."""
    red, green = histograms(plain((255, 0, 0)))[0], histograms(plain((0, 255, 0)))[0]
    blue, yellow = histograms(plain((0, 0, 255)))[0], histograms(plain((255, 255, 0)))[0]
    assert red[:, -1].sum() > 0.9
    assert green[:, 0].sum() > 0.9
    assert blue[:, :, 0].sum() > 0.9
    assert yellow[:, :, -1].sum() > 0.9


def test_padding_does_not_count() -> None:
    """The same packaging in a square photo and alone: the padding has a colour that it lacks."""
    halves = np.zeros((120, 40, 3), np.uint8)
    halves[:, :] = np.where(np.arange(40)[None, :, None] < 20, [200, 0, 0], [0, 0, 200])
    found = histograms(halves)[0]
    grey = found[:, HUES // 2 - 1 : HUES // 2 + 1, HUES // 2 - 1 : HUES // 2 + 1].sum()
    assert grey < 0.02


def test_the_rim_counts_less_than_the_middle() -> None:
    photo = plain((255, 0, 0))
    photo[20:60, 20:60] = (0, 255, 0)
    whole = histograms(photo)[0]
    assert whole[:, 0].sum() > 0.6  # of a quarter of the area


def test_regions_have_the_colours_of_their_place() -> None:
    photo = plain((255, 0, 0))
    photo[:, 54:] = (0, 255, 0)
    regions = histograms(photo)[1:].reshape(3, 3, LIGHTNESSES, HUES, HUES)
    assert (regions[:, 0, :, -1].sum(axis=(1, 2)) > 0.9).all()
    assert (regions[:, 2, :, 0].sum(axis=(1, 2)) > 0.9).all()


def test_a_photo_of_one_colour_is_that_colour() -> None:
    """Each of its rows looks like padding."""
    assert histograms(plain((255, 0, 0)))[0][:, -1].sum() > 0.9
