from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.data.phash import near_duplicates, perceptual_hash
from tasks.data.photo_checks import PhotoCheck, check_photos, locate
from tests.support.catalogue_folder import write_photo
from unbundle.base.errors import UserError
from unbundle.vision.imaging import open_photo

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=8).map(lambda h: np.array(h, np.uint64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with photos, broken ones, and links, beside a photo that is none of it."""
    root = tmp_path_factory.mktemp("photos")
    inside = root / "catalogue"
    write_photo(root / "outside/secret.png", 0)
    write_photo(inside / "images/a.png", 1, 64, 48)
    write_photo(inside / "images/a.jpg", 1, 640, 480)
    (inside / "images/text.jpg").write_text("no photo", encoding="utf-8")
    whole = (inside / "images/a.jpg").read_bytes()
    (inside / "images/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (inside / "linked.png").symlink_to(inside / "images/a.png")
    (inside / "out.png").symlink_to(root / "outside/secret.png")
    (inside / "away").symlink_to(root / "outside")
    (inside / "round.png").symlink_to(inside / "round.png")
    return inside


def only(folder: Path, image: str) -> PhotoCheck:
    (inspection,) = check_photos(folder, [image])
    return inspection


@pytest.mark.parametrize("image", ["images/a.png", "./images/a.png", "linked.png"])
def test_a_photo_in_the_folder_is_found(folder: Path, image: str) -> None:
    assert locate(folder, image) == (folder / "images/a.png").resolve()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("", "no image is named"),
        ("../outside/secret.png", "leads out of the catalogue folder"),
        ("images/../../outside/secret.png", "leads out of the catalogue folder"),
        ("out.png", "leads out of the catalogue folder"),
        ("away/secret.png", "leads out of the catalogue folder"),
        ("/etc/hostname", "leads out of the catalogue folder"),
        ("images/b.png", "is not in the catalogue folder"),
        ("round.png", "is not in the catalogue folder"),
        ("nul\0.png", "is not in the catalogue folder"),
        ("a" * 5000, "is not in the catalogue folder"),
        ("images", "is not a file"),
    ],
)
def test_nothing_else_is(folder: Path, image: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        locate(folder, image)
    assert said in only(folder, image).problem


@given(
    st.text(st.sampled_from("./a\\~out") | st.characters(exclude_categories=["Cs"]), max_size=30)
)
def test_whatever_is_located_lies_in_the_folder(folder: Path, image: str) -> None:
    try:
        assert locate(folder, image).is_relative_to(folder.resolve())
    except ValueError as error:
        assert "\n" not in str(error)


def test_what_does_not_decode_says_so(folder: Path) -> None:
    text, cut = only(folder, "images/text.jpg"), only(folder, "images/cut.jpg")
    assert text == PhotoCheck("image 'images/text.jpg' is in no format that is known")
    assert cut.problem.startswith("image 'images/cut.jpg' does not decode (image file is truncated")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_upright_photo(
    folder: Path, tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(folder / "images/a.jpg") as photo:
        photo.save(tmp_path / "turned.jpg", exif=exif)
    found = only(tmp_path, "turned.jpg")
    assert (found.height, found.width) == open_photo(tmp_path / "turned.jpg").shape[:2]


@pytest.mark.parametrize("size", [(1, 101), (30_001, 400)])
def test_a_photo_that_serving_refuses_by_its_size_is_refused(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("L", size).save(tmp_path / "long.png")
    assert (
        "pixels; a side may have 30,000 and 100 times the other"
        in only(tmp_path, "long.png").problem
    )


@given(st.data())
def test_broken_bytes_pass_only_if_serving_opens_them(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["a.png", "a.jpg"]))
    broken = bytearray((folder / "images" / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (folder / "broken.jpg").write_bytes(broken)
    found = only(folder, "broken.jpg")
    try:
        photo = open_photo(folder / "broken.jpg")
    except UserError:
        assert found.problem
    else:
        assert (found.height, found.width) == photo.shape[:2]


def test_inspections_come_in_the_order_of_the_rows(folder: Path) -> None:
    images = ["images/a.png", "images/b.png", "images/a.jpg"] * 100
    sizes = [found.width for found in check_photos(folder, images)]
    assert sizes == [64, 0, 640] * 100


def copies(photo: Image.Image) -> list[Image.Image]:
    def compressed(quality: int) -> Image.Image:
        photo.save(file := BytesIO(), "JPEG", quality=quality)
        return Image.open(file)

    smaller = photo.resize((photo.width * 2 // 3, photo.height * 2 // 3))
    return [compressed(85), compressed(40), smaller]


def test_copies_of_a_photo_hash_alike_and_other_photos_do_not(datasets: Path) -> None:
    files = sorted((datasets / "grocery/images").iterdir())[::60]
    photos = [Image.open(file).convert("RGB") for file in files]
    hashes = np.array([perceptual_hash(photo) for photo in photos], np.uint64)
    assert (near_duplicates(hashes, hashes, 2) == np.arange(len(hashes))).all()
    for index, photo in enumerate(photos):
        copied = np.array([perceptual_hash(copy) for copy in copies(photo)], np.uint64)
        assert (near_duplicates(copied, hashes, 2) == index).all()


@given(HASHES, HASHES, st.integers(0, 64))
def test_near_duplicates_are_the_first_within_the_bits(
    hashes: np.ndarray, others: np.ndarray, bits: int
) -> None:
    expected = [
        next((i for i, other in enumerate(others) if (int(h) ^ int(other)).bit_count() <= bits), -1)
        for h in hashes
    ]
    assert near_duplicates(hashes, others, bits).tolist() == expected
