import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support import photos_with_local_features as printed_photos
from tests.support.photos_with_local_features import printed
from unbundle.vision.keypoints import (
    LONGEST_TEXT,
    ROOTSIFT,
    Keypoints,
    KeypointSettings,
    fit_projection,
    keypoints,
    rootsift,
)

SETTINGS = printed_photos.SETTINGS.model_copy(
    update={"image_size": 160, "count": 80, "dimension": 24}
)
WHOLE = np.asarray([[0, 0, 120, 180]], np.float32)


@given(st.integers(0, 30), st.integers(1, 40), st.data())
def test_packed_keypoints_come_back_but_for_rounding(
    count: int, dimension: int, data: st.DataObject
) -> None:
    def numbers(low: float, high: float, size: int) -> np.ndarray:
        values = st.floats(low, high, width=32)
        return data.draw(arrays.arrays(np.float32, (count, size), elements=values))

    one = Keypoints(numbers(0, 512, 2), numbers(-0.9375, 0.9375, dimension), numbers(-120, 120, 2))
    back = Keypoints.unpack(one.pack(), dimension)
    assert len(back) == count
    np.testing.assert_allclose(back.places, one.places, atol=1 / 16)
    np.testing.assert_allclose(back.descriptors, one.descriptors, atol=2.0**-8)
    np.testing.assert_allclose(back.chroma, one.chroma, atol=0.5)
    assert back.pack() == one.pack()


def test_what_was_never_described_has_no_keypoint() -> None:
    assert len(Keypoints.unpack("", 32)) == 0


def test_a_print_has_keypoints_within_the_crop_and_a_blank_has_none() -> None:
    projection = np.eye(ROOTSIFT, 24, dtype=np.float32)
    photo = np.concatenate([printed(1), np.full((180, 120, 3), 90, np.uint8)], axis=1)
    boxes = np.asarray([[0, 0, 120, 180], [125, 0, 240, 180], [400, 0, 500, 10]], np.float32)
    shown, blank, outside = keypoints(photo, boxes, SETTINGS, projection)
    assert 20 < len(shown) <= SETTINGS.count
    assert shown.descriptors.shape == (len(shown), 24)
    assert (shown.places >= 0).all()
    assert (shown.places <= [SETTINGS.image_size * 120 / 180, SETTINGS.image_size]).all()
    assert len(blank) == len(outside) == 0


def test_the_same_crop_gives_the_same_keypoints() -> None:
    first, second = (rootsift(printed(2), WHOLE[0], SETTINGS) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.linalg.norm(first.descriptors, axis=1), 1, rtol=1e-5)


def test_none_are_looked_for_where_none_are_wanted() -> None:
    off = SETTINGS.model_copy(update={"count": 0})
    (found,) = keypoints(printed(1), WHOLE, off, np.eye(ROOTSIFT, 24, dtype=np.float32))
    assert len(found) == 0


def test_a_projection_keeps_what_tells_descriptors_apart() -> None:
    described = [rootsift(printed(seed), WHOLE[0], SETTINGS).descriptors for seed in range(6)]
    projection = fit_projection(described, 32)
    np.testing.assert_allclose(projection.T @ projection, np.eye(32), atol=1e-5)
    rows = np.concatenate(described)
    kept = np.square(rows @ projection).sum() / np.square(rows).sum()
    assert 0.8 < kept <= 1.0 + 1e-6
    assert fit_projection([], 8).shape == (ROOTSIFT, 8)


def test_more_keypoints_than_a_row_holds_are_refused() -> None:
    with pytest.raises(ValueError, match=f"characters, {LONGEST_TEXT} fit"):
        KeypointSettings(**{**SETTINGS.model_dump(), "count": 1000, "dimension": 128})
