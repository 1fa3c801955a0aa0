import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unbundle.base.errors import UserError
from unbundle.vision.imaging import (
    PADDING,
    Photo,
    crops,
    geometry,
    letterbox,
    open_photo,
    open_upload,
)

sides = st.integers(1, 90)


def checkers(width: int, height: int) -> Photo:
    rows, columns = np.indices((height, width))
    pixels = np.stack([rows * 7 % 256, columns * 5 % 256, (rows + columns) * 3 % 256], axis=2)
    return pixels.astype(np.uint8)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def test_a_photo_from_a_path_and_from_bytes_is_the_same(tmp_path: Path) -> None:
    photo = checkers(20, 10)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(photo)))
    assert np.array_equal(open_photo(tmp_path / "a.png"), photo)
    assert np.array_equal(open_photo((tmp_path / "a.png").read_bytes()), photo)


def test_a_turned_photo_is_made_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(checkers(20, 10)), exif=exif)
    assert open_photo(turned).shape == (20, 10, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    photo = open_photo(encoded(Image.new(mode, (8, 6)), form))
    assert photo.shape == (6, 8, 3)
    assert photo.dtype == np.uint8


def test_a_missing_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jpg: no such file"):
        open_photo(tmp_path / "absent.jpg")


def test_a_folder_in_place_of_a_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a readable image"):
        open_photo(tmp_path)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_image_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(UserError) as caught:
        open_photo(data)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 255))
def test_a_damaged_photo_is_refused_or_decoded(place: int, value: int) -> None:
    data = bytearray(encoded(Image.fromarray(checkers(16, 16)), "JPEG"))
    data[place % len(data)] = value
    try:
        photo = open_photo(bytes(data))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert photo.ndim == 3


def test_a_truncated_photo_is_refused() -> None:
    data = encoded(Image.fromarray(checkers(64, 64)), "JPEG")
    with pytest.raises(UserError, match="not a readable image"):
        open_photo(data[: len(data) // 2])


def test_a_photo_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match="too many pixels"):
        open_photo(encoded(Image.fromarray(checkers(40, 40))))


@settings(deadline=None)
@given(sides, sides, st.sampled_from([32, 64, 96]))
def test_letterbox_keeps_proportions_and_maps_boxes_back(
    width: int, height: int, side: int
) -> None:
    image, factor = letterbox(checkers(width, height), side)
    assert image.shape == (3, side, side)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1
    assert max(width, height) * factor == pytest.approx(side)
    right, bottom = round(max(1, width * factor)), round(max(1, height * factor))
    assert np.allclose(image[:, bottom + 1 :], PADDING)
    assert np.allclose(image[:, :, right + 1 :], PADDING)


@settings(deadline=None)
@given(sides, sides, st.lists(st.floats(-50, 150, width=32), min_size=4, max_size=4))
def test_any_box_gives_a_square_crop(width: int, height: int, corners: list[float]) -> None:
    box = np.asarray([corners], np.float32)
    cut = crops(checkers(width, height), box, 24)
    assert cut.shape == (1, 24, 24, 3)
    assert cut.dtype == np.uint8


def test_a_crop_shows_its_box_and_nothing_of_its_neighbours() -> None:
    photo = np.full((40, 60, 3), (0, 0, 255), np.uint8)
    photo[10:30, 20:30] = (255, 0, 0)
    cut = crops(photo, np.asarray([[20, 10, 30, 30]], np.float32), 32)[0]
    assert (cut == (255, 0, 0)).all()


def test_no_boxes_give_no_crops() -> None:
    assert crops(checkers(9, 9), np.zeros((0, 4), np.float32), 8).shape == (0, 8, 8, 3)


def test_geometry_is_relative_to_the_photo() -> None:
    found = geometry(np.asarray([[10, 20, 60, 60], [-5, -5, 300, 300]], np.float32), 100, 80)
    assert found.tolist() == [
        pytest.approx([0.1, 0.25, 0.6, 0.75, 0.25]),
        pytest.approx([0, 0, 1, 1, 1]),
    ]


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_upload_is_the_photo(form: str) -> None:
    content = encoded(Image.fromarray(checkers(9, 7)), form, lossless=True)
    assert np.array_equal(open_upload(content, 63), checkers(9, 7))
    with pytest.raises(UserError, match="the photo: more than 62 pixels; scale it down"):
        open_upload(content, 62)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM"])
def test_strangers_reach_few_decoders(form: str) -> None:
    content = encoded(Image.fromarray(checkers(9, 7)), form)
    with pytest.raises(UserError, match="not a readable image"):
        open_upload(content, 63)
