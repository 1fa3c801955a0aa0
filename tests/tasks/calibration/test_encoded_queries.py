"""The fits see what a query sees: CAPTURE's inputs and heads of stored tokens and of photos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.capture.onnx_heads import HEADS
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.model_bundle.int8_cost import see
from tests.support.tiny_model_bundle import BLANK, scene, write_photo
from unbundle.base.onnx_session import open_session
from unbundle.encoding.capture_inputs import (
    OUTPUTS,
    Arrays,
    Visual,
    capture_inputs,
    title_tokenizer,
)
from unbundle.encoding.image_encoder import ImageEncoder
from unbundle.encoding.model_bundle import CAPTURE, TOKENIZER, Bundle
from unbundle.encoding.query_encoder import Encoder
from unbundle.encoding.untrained_parts import UntrainedParts
from unbundle.vision.imaging import Photo

TITLES = ["red cream", "  red cream\n", "", " ", "\u3000面霜 unknown words\t", "red " * 40]
PHOTOS = [scene([1, 2, 3]), scene([4]), BLANK]

Ask = Callable[[Photo, str], tuple[StoredPhotos, pd.DataFrame]]


class RoundedEncoder(ImageEncoder):
    """Gives visual tokens as a store keeps them, in half precision."""

    def encode(self, *arguments: Any) -> Visual:
        visual = super().encode(*arguments)
        return replace(visual, tokens=visual.tokens.astype(np.float16).astype(np.float32))


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Encoder:
    bundle = Bundle.open(tiny_bundle)
    encoder = Encoder(bundle, threads=1)
    encoder._image_encoder = RoundedEncoder(bundle.folder, bundle.detector, bundle.backbone, 1)
    return encoder


@pytest.fixture
def ask(encoder: Encoder, tmp_path: Path) -> Ask:
    """Stores the tokens of one query."""
    bundle = encoder.bundle
    capture = open_session(bundle.folder / CAPTURE, 1)

    def stored(photo: Photo, title: str) -> tuple[StoredPhotos, pd.DataFrame]:
        write_photo(tmp_path / "q.png", photo)
        rows = pd.DataFrame([{"id": "q", "image": "q.png", "caption": title}])
        store = see(rows, tmp_path, bundle.folder, bundle.detector, bundle.backbone)
        tokenizer = Tokenizer.from_file(str(bundle.folder / TOKENIZER))
        longest = bundle.capture.title_tokens
        untrained = UntrainedParts.open(bundle.folder, bundle.embedding.dimension_of("lexical"))

        def run(inputs: Arrays) -> list[NDArray[Any]]:
            outputs: list[NDArray[Any]] = capture.run(list(OUTPUTS), inputs)
            return outputs

        photos = StoredPhotos(store, run, tokenizer, longest, untrained, 64)
        return photos, rows

    return stored


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("title", TITLES)
def test_stored_heads_are_those_of_a_query(
    encoder: Encoder, ask: Ask, photo: Photo, title: str
) -> None:
    stored, rows = ask(photo, title)
    for mode, caption in (("both", title), ("photo", "")):
        asked, served = stored.queries(rows, mode), encoder.encode(photo, caption)
        assert list(asked.heads) == list(served.heads)
        for head, vectors in served.heads.items():
            np.testing.assert_array_equal(asked.heads[head], vectors, err_msg=f"{mode}: {head}")
            assert asked.heads[head].dtype == vectors.dtype == np.float32
        np.testing.assert_array_equal(asked.boxes, served.boxes)


@pytest.mark.parametrize("title", [title for title in TITLES if title.strip()])
def test_stored_heads_of_a_title_alone_are_those_of_a_query(
    encoder: Encoder, ask: Ask, title: str
) -> None:
    stored, rows = ask(scene([1, 2]), title)
    asked, served = stored.queries(rows, "title"), encoder.encode(None, title)
    for head, vectors in served.heads.items():
        np.testing.assert_array_equal(asked.heads[head], vectors, err_msg=head)


def test_titles_are_cut_and_padded_and_a_blank_one_is_all_padding(tiny_bundle: Path) -> None:
    tokenizer = title_tokenizer(Tokenizer.from_file(str(tiny_bundle / TOKENIZER)), 6)
    visual = Visual(
        np.zeros((4, 1, 12), np.float32), np.zeros((4, 1, 5), np.float32), np.ones((4, 1), int)
    )
    inputs = capture_inputs(visual, [" red ", "red " * 9, " ", "blue cream"], tokenizer)
    assert inputs["attention_mask"].sum(axis=1).tolist() == [3, 6, 0, 4]
    assert inputs["input_ids"].shape == (4, 6)
    assert {inputs[name].dtype for name in ("input_ids", "attention_mask")} == {np.dtype(np.int64)}


def test_the_exported_network_names_its_outputs_as_serving_does() -> None:
    assert HEADS == OUTPUTS
