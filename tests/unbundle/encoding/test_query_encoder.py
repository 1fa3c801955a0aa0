import io
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.tiny_model_bundle import BLANK, scene
from unbundle.base.errors import UserError
from unbundle.encoding.model_bundle import Bundle
from unbundle.encoding.query_encoder import Encoder
from unbundle.vision.imaging import open_photo


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Encoder:
    return Encoder(Bundle.open(tiny_bundle), threads=1)


def test_products_are_proposed_in_photo_pixels_best_first(encoder: Encoder) -> None:
    found = encoder.propose(scene([1, 2, 3], side=128))
    assert sorted(map(tuple, found.boxes.round())) == [
        (4, 4, 60, 60),
        (4, 68, 60, 124),
        (68, 4, 124, 60),
    ]
    assert np.all(np.diff(found.scores) <= 0)


def test_a_photo_in_which_nothing_is_seen_is_one_instance(encoder: Encoder) -> None:
    found = encoder.encode(BLANK)
    assert found.boxes.tolist() == [[0, 0, 64, 64]]
    assert found.scores.tolist() == [0]


def test_a_title_does_not_change_what_is_seen_and_adds_its_part(encoder: Encoder) -> None:
    photo = scene([1, 2])
    bare, titled = encoder.encode(photo), encoder.encode(photo, "red cream")
    np.testing.assert_array_equal(bare.boxes, titled.boxes)
    np.testing.assert_array_equal(bare.heads["raw"], titled.heads["raw"])
    assert not bare.heads["text"].any()
    np.testing.assert_allclose(np.linalg.norm(titled.heads["text"], axis=1), 1, rtol=1e-5)


def test_a_title_alone_is_one_instance_without_a_box(encoder: Encoder) -> None:
    found = encoder.encode(None, "red cream")
    assert found.boxes.shape == (0, 4)
    assert found.scores.tolist() == [1]
    assert not found.heads["raw"].any()
    assert not found.heads["visual"].any()
    assert found.vectors.shape == (1, encoder.bundle.dimension)


@pytest.mark.parametrize("title", ["", "   ", "\n"])
def test_a_blank_title_counts_as_none(encoder: Encoder, title: str) -> None:
    photo = scene([1])
    np.testing.assert_array_equal(
        encoder.encode(photo, title).vectors, encoder.encode(photo).vectors
    )
    with pytest.raises(UserError, match="the query is empty"):
        encoder.encode(None, title)


def test_a_long_title_is_cut_for_the_network_and_none_of_its_words_is_lost(
    encoder: Encoder,
) -> None:
    long = encoder.encode(None, " ".join(["red"] * 10 + ["blue"] * 500)).heads
    short = encoder.encode(None, " ".join(["red"] * 10)).heads
    for head in ("text", "joint"):
        np.testing.assert_array_equal(long[head], short[head])
    blue = encoder.encode(None, "blue").heads["lexical"]
    assert long["lexical"] @ blue.T > short["lexical"] @ blue.T + 0.5


@pytest.mark.parametrize(
    ("title", "unknown"), [("", 0.0), (" ", 0.0), ("red cream", 0.0), ("red 面霜 ж", 0.6667)]
)
def test_a_query_tells_how_much_of_its_title_the_tokenizer_knows(
    encoder: Encoder, title: str, unknown: float
) -> None:
    assert encoder.encode(scene([1]), title).unknown == encoder.unknown(title) == unknown


@given(st.text(max_size=200))
def test_any_title_gives_unit_vectors(encoder: Encoder, title: str) -> None:
    vectors = encoder.encode(scene([1, 2]), title).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 255))
def test_any_photo_gives_boxes_inside_and_unit_vectors(
    encoder: Encoder, height: int, width: int, grey: int
) -> None:
    found = encoder.encode(np.full((height, width, 3), grey, np.uint8))
    assert np.all(found.boxes >= 0)
    assert np.all(found.boxes <= [width, height, width, height])
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16"])
def test_files_of_any_pixel_format_are_encoded(encoder: Encoder, mode: str) -> None:
    file = io.BytesIO()
    image = Image.fromarray(scene([1, 2]))
    converted = Image.new("I;16", image.size, 3000) if mode == "I;16" else image.convert(mode)
    converted.save(file, format="TIFF" if mode == "CMYK" else "PNG")
    assert len(encoder.encode(open_photo(file.getvalue())).vectors)


def test_a_turned_photo_is_encoded_upright(encoder: Encoder) -> None:
    upright = Image.fromarray(scene([1]))
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(file, format="PNG", exif=exif)
    np.testing.assert_array_equal(
        encoder.encode(open_photo(file.getvalue())).vectors,
        encoder.encode(np.asarray(upright)).vectors,
    )


def test_given_boxes_replace_the_detectors(encoder: Encoder) -> None:
    photo = scene([1, 2])
    found = encoder.encode(photo, boxes=[[1, 1, 31, 31], [0, 0, 64, 64.0]])
    assert found.boxes.tolist() == [[1, 1, 31, 31], [0, 0, 64, 64]]
    assert found.scores.tolist() == [1, 1]
    alone = encoder.encode(photo, boxes=[[1, 1, 31, 31]])
    np.testing.assert_allclose(found.vectors[:1], alone.vectors, atol=1e-6)


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 0, 10],
        [10, 10, 5, 20],
        [-1, 0, 10, 10],
        [0, 0, 65, 10],
        [0, 0, float("nan"), 10],
        [0, 0, float("inf"), 10],
        [0, 0, 10],
        [],
    ],
)
def test_a_box_that_is_none_is_refused_by_its_numbers(encoder: Encoder, box: list[float]) -> None:
    with pytest.raises(UserError, match=r"^box .*: expected x0,y0,x1,y1 .* 64 x 64 pixels"):
        encoder.encode(scene([1]), boxes=[[1, 1, 5, 5], box])


@pytest.mark.parametrize("count", [0, 65])
def test_a_number_of_boxes_out_of_bounds_is_refused(encoder: Encoder, count: int) -> None:
    with pytest.raises(UserError, match=f"{count} boxes: give 1 to 64"):
        encoder.encode(scene([1]), boxes=[[1, 1, 5, 5]] * count)


def test_boxes_without_a_photo_are_refused(encoder: Encoder) -> None:
    with pytest.raises(UserError, match="boxes without a photo"):
        encoder.encode(None, "red", boxes=[[1, 1, 5, 5]])


def test_a_gallery_batch_equals_its_photos_alone(encoder: Encoder) -> None:
    photos = [scene([number], side=40 + 4 * number) for number in range(5)] + [BLANK]
    captions = ["red", "", "red cream 面霜 unknown words", " ", "blue", ""]
    batch = encoder.encode_gallery(photos, captions)
    alone = [
        encoder.encode_gallery([photo], [caption])
        for photo, caption in zip(photos, captions, strict=True)
    ]
    together = np.concatenate([one.vectors for one in alone])
    np.testing.assert_allclose(batch.vectors, together, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(batch.vectors, axis=1), 1, rtol=1e-5)
    assert batch.keypoints == [one.keypoints[0] for one in alone]


def test_a_gallery_photo_is_represented_by_its_best_proposal(encoder: Encoder) -> None:
    photo = scene([1, 2])
    best = encoder.propose(photo).boxes[0]
    cut = np.zeros_like(photo)
    x0, y0, x1, y1 = (int(value) for value in best)
    cut[y0:y1, x0:x1] = photo[y0:y1, x0:x1]
    whole, alone = (encoder.encode_gallery([shown], [""]) for shown in (photo, cut))
    np.testing.assert_allclose(whole.vectors, alone.vectors, atol=1e-5)
    assert whole.keypoints == alone.keypoints


def test_an_encoder_is_warm_when_it_is_made(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    class Watched(onnxruntime.InferenceSession):  # type: ignore[misc]  # ships no types
        def run(self, *arguments: object) -> object:
            runs.append(self)
            return super().run(*arguments)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Watched)
    Encoder(Bundle.open(tiny_bundle), threads=1)
    assert len(set(map(id, runs))) == 3
