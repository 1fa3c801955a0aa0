import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unbundle.base.errors import UserError
from unbundle.base.request_limits import PHOTO_PROPORTION, PHOTO_SIDE, PILLOW_PIXELS, PIXEL_BYTES
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
    with pytest.raises(UserError, match=r"more than [\d,]+ pixels; scale it down"):
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


def head_of_png(width: int, height: int) -> bytes:
    """A PNG whose head promises pixels that never come: who decodes it would find none."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    checked = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checked


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (1, 49_000_000, "a side may have"),
        (49_000_000, 1, "a side may have"),
        (10, 10 * PHOTO_PROPORTION + 1, f"and {PHOTO_PROPORTION} times the other"),
        (PHOTO_SIDE + 1, 1000, "a side may have"),
        (10_000, 10_000, "more than 50,000,000 pixels"),
        (30_000, 30_000, "more than 50,000,000 pixels"),
    ],
)
def test_a_bomb_is_refused_by_its_head(width: int, height: int, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        open_upload(head_of_png(width, height), 50_000_000)
    if "side" in reason:
        with pytest.raises(UserError, match=reason):
            open_photo(head_of_png(width, height))


def test_the_longest_photo_is_let_in() -> None:
    photo = encoded(Image.new("L", (10, 10 * PHOTO_PROPORTION)))
    assert open_upload(photo, 10_000).shape == (1000, 10, 3)


def test_the_limit_of_pixels_is_pillows_own() -> None:
    assert PILLOW_PIXELS == Image.MAX_IMAGE_PIXELS


PEAK = """
import io, re, sys
from PIL import Image
from unbundle.vision.imaging import open_upload

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024

def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()

exif = Image.Exif()
exif[0x0112] = 6
worst = {
    "deep": lambda size: encoded(Image.new("I;16", size), "PNG"),
    "turned": lambda size: encoded(Image.new("RGBA", size), "PNG", exif=exif),
    "long": lambda size: encoded(Image.new("P", (size[0] // 5, size[1] * 5)), "PNG"),
    "progressive": lambda size: encoded(
        Image.new("CMYK", size), "JPEG", progressive=True, subsampling=0, exif=exif
    ),
    "lossless": lambda size: encoded(
        Image.effect_noise(size, 99).convert("RGB"), "WEBP", lossless=True, quality=0, method=0
    ),
}
for name, make in worst.items():
    open_upload(make((8, 8)), 64)
    content = make((1600, 1250))
    open("/proc/self/clear_refs", "w").write("5")
    before = peak()
    open_upload(content, 2_000_000)
    print(name, (peak() - before) / 2_000_000)
"""


def test_no_photo_takes_more_memory_than_the_documents_say() -> None:
    command = [sys.executable, "-c", PEAK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}
    assert len(found) == 5
    # Above 3 bytes per pixel or the measure would be blind: that is the photo itself.
    assert all(3 <= value <= PIXEL_BYTES for value in found.values()), found
    docs = (Path(__file__).parents[3] / "docs/serving.md").read_text(encoding="utf-8")
    assert f"{PIXEL_BYTES} bytes per pixel" in docs
