import cv2
import numpy as np
import pytest

from tasks.base.params import Cutouts, load_params
from tasks.synthesis.cutouts import cut_out, shrink
from unbundle.vision.imaging import Photo

Box = tuple[int, int, int, int]
BOX: Box = (60, 40, 130, 160)


@pytest.fixture(scope="module")
def params() -> Cutouts:
    return load_params().detect.cutouts


def product(background: Photo, colour: tuple[int, int, int] = (180, 40, 60)) -> Photo:
    """A carton with a label and a cap that fills `BOX`."""
    photo = background.copy()
    x0, y0, x1, y1 = BOX
    cv2.rectangle(photo, (x0, y0 + 20), (x1 - 1, y1 - 1), colour, cv2.FILLED)
    cv2.rectangle(photo, (x0 + 10, y0), (x1 - 11, y0 + 20), (40, 60, 150), cv2.FILLED)
    cv2.rectangle(photo, (x0 + 8, y0 + 50), (x1 - 9, y0 + 90), (240, 230, 90), cv2.FILLED)
    return photo


def plain(value: int | tuple[int, int, int]) -> Photo:
    return np.full((192, 192, 3), value, np.uint8)


def grain(photo: Photo, strength: float) -> Photo:
    noise = np.random.default_rng(0).normal(0, strength, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


def assert_near(found: Box, wanted: Box, slack: int = 4) -> None:
    assert np.abs(np.subtract(found, wanted)).max() <= slack


def test_white_background_is_flooded(params: Cutouts) -> None:
    cutout = cut_out(product(plain(255)), params)
    assert cutout is not None
    assert cutout.method == "flood"
    assert_near(cutout.box, BOX, 1)


def test_coloured_noisy_background_is_cut_by_seeds(params: Cutouts) -> None:
    cutout = cut_out(grain(product(plain((120, 170, 200))), 3), params)
    assert cutout is not None
    assert cutout.method == "seeded"
    assert_near(cutout.box, BOX)


def test_a_background_of_two_colours_is_cut_by_a_rectangle(params: Cutouts) -> None:
    scene = plain((120, 170, 200))
    scene[130:] = (150, 110, 70)
    cutout = cut_out(grain(product(scene), 2), params)
    assert cutout is not None
    assert cutout.method == "rectangle"
    assert_near(cutout.box, BOX, 8)


def test_a_sticker_apart_is_left_out(params: Cutouts) -> None:
    photo = product(plain(255))
    cv2.circle(photo, (170, 20), 12, (220, 0, 0), cv2.FILLED)
    cutout = cut_out(photo, params)
    assert cutout is not None
    assert_near(cutout.box, BOX, 1)


def test_the_cut_is_soft_and_inside_its_box(params: Cutouts) -> None:
    cutout = cut_out(product(plain(255)), params)
    assert cutout is not None
    x0, y0, x1, y1 = cutout.box
    assert cutout.alpha.shape == cutout.photo.shape[:2]
    assert cutout.alpha[(y0 + y1) // 2, (x0 + x1) // 2] == 255
    outside = cutout.alpha.copy()
    outside[y0:y1, x0:x1] = 0
    assert not outside.any()
    assert ((cutout.alpha > 0) & (cutout.alpha < 255)).any()


def test_only_the_configured_methods_are_tried(params: Cutouts) -> None:
    only = params.model_copy(update={"methods": ["rectangle"]})
    cutout = cut_out(product(plain(255)), only)
    assert cutout is not None
    assert cutout.method == "rectangle"
    assert (
        cut_out(product(plain((90, 90, 90))), params.model_copy(update={"methods": ["flood"]}))
        is None
    )


@pytest.mark.parametrize("value", [255, 128, 0])
def test_a_photo_of_nothing_gives_no_cutout(params: Cutouts, value: int) -> None:
    assert cut_out(plain(value), params) is None


def test_specks_and_photos_full_of_product_are_refused(params: Cutouts) -> None:
    speck = plain(255)
    speck[90:100, 90:100] = 0
    assert cut_out(speck, params.model_copy(update={"methods": ["flood"]})) is None
    full = plain(255)
    full[3:-3, 3:-3] = 60
    assert cut_out(full, params.model_copy(update={"methods": ["flood"]})) is None


def test_thin_scattered_things_are_not_solid(params: Cutouts) -> None:
    photo = plain(255)
    cv2.line(photo, (20, 20), (170, 170), (0, 0, 0), 8)
    cv2.line(photo, (20, 170), (170, 20), (0, 0, 0), 8)
    assert cut_out(photo, params.model_copy(update={"methods": ["flood"]})) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (5, 2, 3), (3, 3, 3)])
def test_tiny_photos_are_no_trouble(params: Cutouts, shape: tuple[int, ...]) -> None:
    assert cut_out(np.full(shape, 200, np.uint8), params) is None


def test_the_same_photo_gives_the_same_cutout(params: Cutouts) -> None:
    photo = grain(product(plain((120, 170, 200))), 4)
    first, second = cut_out(photo, params), cut_out(photo, params)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.alpha, second.alpha)


def test_shrinking_keeps_proportions_and_never_enlarges() -> None:
    assert shrink(np.zeros((100, 400, 3), np.uint8), 200).shape == (50, 200, 3)
    assert shrink(np.zeros((30, 40, 3), np.uint8), 200).shape == (30, 40, 3)
