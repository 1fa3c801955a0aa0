from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.support.tiny_model_bundle import product, scene, write_photo
from unbundle.index.gallery_collection import Hit
from unbundle.query.search import Answer, Box, Instance
from unbundle.terminal.answer_picture import COLOURS, draw_answer


def hit(number: int = 0, label: str = "product", image: str = "a.png") -> Hit:
    return Hit(f"g{number}", label, 0.9 - number / 10, "title", image, {})


def answer(*instances: Instance) -> Answer:
    return Answer(instances, "products_0", "b")


def has(image: Image.Image, colour: str) -> bool:
    return bool(np.any(np.all(np.asarray(image) == ImageColor.getrgb(colour), axis=2)))


def test_every_box_has_its_colour_in_photo_and_list() -> None:
    boxes: list[Box] = [(1, 1, 31, 31), (33, 1, 63, 31), (1, 33, 31, 63)]
    drawn = draw_answer(scene([1, 2, 3]), answer(*(Instance(box, 1, (hit(),)) for box in boxes)))
    middle = drawn.width // 2
    photo, cards = drawn.crop((0, 0, middle, drawn.height)), drawn.crop((middle, 0, *drawn.size))
    for colour in COLOURS[:3]:
        assert has(photo, colour)
        assert has(cards, colour)
    assert not has(drawn, COLOURS[3])


def test_hits_show_their_gallery_photos(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", product(4, 200))
    seen = answer(Instance((0, 0, 9, 9), 1, (hit(),)))
    colour = "#{:02x}{:02x}{:02x}".format(*product(4)[0, 0])
    assert has(draw_answer(scene([1]), seen, tmp_path), colour)
    assert not has(draw_answer(scene([1]), seen), colour)


@pytest.mark.parametrize("image", ["missing.png", "broken.png", "."])
def test_a_gallery_photo_that_is_missing_leaves_a_blank(tmp_path: Path, image: str) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert draw_answer(scene([1]), answer(Instance(None, 1, (hit(image=image),))), tmp_path)


@pytest.mark.parametrize("label", ["面霜 50ml", "", "x" * 500, "🧴", "a\u0301", "\n"])
def test_any_label_is_drawn(label: str) -> None:
    assert draw_answer(None, answer(Instance(None, 1, (hit(label=label),))))


def test_a_title_alone_has_no_photo() -> None:
    seen = answer(Instance(None, 1, tuple(hit(number) for number in range(9))))
    assert draw_answer(None, seen).width < draw_answer(scene([1]), seen).width


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (63, 63, 64, 64), (0.0, 0.0, 64.0, 64.0)])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (900, 2), (64, 64)])
def test_any_size_of_photo_and_box_is_drawn(box: Box, size: tuple[int, int]) -> None:
    photo = np.zeros((*size, 3), np.uint8)
    assert draw_answer(photo, answer(Instance(box, 1, ()))).width > 700


def test_more_boxes_than_colours_begin_again() -> None:
    seen = answer(*[Instance((0, 0, 9, 9), 1, (hit(),))] * 10)
    assert draw_answer(scene([1]), seen).height > 10 * 130
