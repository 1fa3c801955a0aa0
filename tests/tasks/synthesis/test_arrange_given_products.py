import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.synthesis.arrange_given_products import bundle_of
from tasks.synthesis.products_to_paste import Sprite
from unbundle.vision.boxes import areas


def products(count: int) -> list[Sprite]:
    colours = np.random.default_rng(0).integers(0, 256, (count, 3))
    alpha = np.full((60, 30), 255, np.uint8)
    return [Sprite(np.full((60, 30, 3), colour, np.uint8), alpha) for colour in colours]


@settings(max_examples=25)
@given(count=st.integers(1, 6), seed=st.integers(0, 1000))
def test_every_box_lies_in_the_photo_and_belongs_to_its_product(count: int, seed: int) -> None:
    photo, boxes = bundle_of(products(count), [], 96, np.random.default_rng(seed))
    height, width = photo.shape[:2]
    assert max(width, height) == 96
    assert len(boxes) == count
    shown = np.asarray([box for box in boxes if box is not None], np.float32).reshape(-1, 4)
    assert (shown >= 0).all()
    assert (shown <= [width, height, width, height]).all()
    assert (areas(shown) > 0).all()


def test_the_same_state_gives_the_same_photo_and_boxes() -> None:
    first, second = (bundle_of(products(3), [], 96, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert first[1] == second[1]


def test_a_box_is_where_its_product_is() -> None:
    red = Sprite(np.full((60, 30, 3), (250, 0, 0), np.uint8), np.full((60, 30), 255, np.uint8))
    for seed in range(20):
        photo, boxes = bundle_of([red], [], 128, np.random.default_rng(seed))
        assert boxes[0] is not None
        x0, y0, x1, y1 = (round(side) for side in boxes[0])
        inside = photo[(y0 + y1) // 2, (x0 + x1) // 2].astype(int)
        assert inside[0] > 100 + inside[1:].max()
