from itertools import pairwise

import cv2
import numpy as np
import pytest

from tests.support.photos_with_local_features import SETTINGS, Photo, printed, turned
from unbundle.vision.geometric_verification import NONE, Evidence, bonus, verify
from unbundle.vision.keypoints import ROOTSIFT, Keypoints, keypoints


def local(photo: Photo) -> Keypoints:
    height, width = photo.shape[:2]
    box = np.asarray([[0, 0, width, height]], np.float32)
    (found,) = keypoints(photo, box, SETTINGS, np.eye(ROOTSIFT, dtype=np.float32))
    return Keypoints.unpack(found.pack(), ROOTSIFT)


def seen(photo: Photo, *others: Photo) -> list[Evidence]:
    return verify(local(photo), [local(other) for other in others], SETTINGS)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (25, 0.8), (-70, 1.2), (170, 1.0)])
def test_a_print_is_found_again_at_any_angle_and_size(degrees: float, scale: float) -> None:
    own, other = seen(turned(printed(1), degrees, scale), printed(1), printed(2))
    assert own.inliers > 25
    assert own.inliers > 4 * max(other.inliers, 1)
    assert own.share > 0.2
    assert own.spread is not None
    assert own.spread < 4
    assert own.skew is not None
    assert own.skew < 0.03


def test_a_print_stretched_over_another_size_is_skewed() -> None:
    straight, longer = (
        seen(turned(printed(3), 10, 1.0, stretch), printed(3))[0] for stretch in (1.0, 1.15)
    )
    assert straight.skew is not None
    assert longer.skew is not None
    assert straight.skew < 0.03 < longer.skew


def test_a_print_in_other_colours_has_matches_that_are_not_alike() -> None:
    photo = printed(4)
    lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB)
    lab[: len(lab) // 2, :, 1] = np.clip(lab[: len(lab) // 2, :, 1].astype(int) + 40, 0, 255)
    same, shade = seen(photo, photo, cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))
    assert same.spread is not None
    assert shade.spread is not None
    assert same.spread < 1 < shade.spread
    assert same.like == same.inliers
    assert shade.like < 0.8 * shade.inliers


def test_a_light_of_another_colour_is_no_other_print() -> None:
    photo = printed(5)
    warm = np.clip(photo.astype(float) * [1.08, 1.0, 0.9], 0, 255).astype(np.uint8)
    (found,) = seen(warm, photo)
    assert found.like > 0.8 * found.inliers > 20


def test_photos_are_compared_together_as_alone() -> None:
    query, others = local(printed(6)), [local(printed(seed)) for seed in (6, 7, 8)]
    others.insert(1, local(np.full((90, 60, 3), 80, np.uint8)))
    together = verify(query, others, SETTINGS)
    assert together == [verify(query, [one], SETTINGS)[0] for one in others]
    assert together[1] == NONE


def test_nothing_is_found_where_nothing_is_printed() -> None:
    blank = np.full((90, 60, 3), 200, np.uint8)
    assert seen(blank, printed(1), blank) == [NONE, NONE]
    assert seen(printed(1), blank) == [NONE]
    assert seen(printed(1)) == []


def test_inliers_beyond_chance_count() -> None:
    counts = [bonus(count) for count in range(40)]
    assert counts[:4] == [0, 0, 0, 0]
    assert all(before < after for before, after in pairwise(counts[3:]))
