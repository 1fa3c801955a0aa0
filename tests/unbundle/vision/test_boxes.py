import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbundle.vision.boxes import Boxes, areas, intersection_over_union, intersections, suppress

corner = st.integers(0, 60)
box = st.tuples(corner, corner, st.integers(1, 40), st.integers(1, 40)).map(
    lambda v: [v[0], v[1], v[0] + v[2], v[1] + v[3]]
)
some_boxes = st.lists(box, min_size=1, max_size=8).map(lambda rows: np.asarray(rows, np.float32))


def painted(one: Boxes) -> np.ndarray:
    canvas = np.zeros((100, 100), bool)
    x0, y0, x1, y1 = one.astype(int)
    canvas[y0:y1, x0:x1] = True
    return canvas


@settings(deadline=None)
@given(some_boxes, some_boxes)
def test_overlaps_are_what_counting_pixels_gives(first: Boxes, second: Boxes) -> None:
    shared = intersections(first, second)
    iou = intersection_over_union(first, second)
    for i, one in enumerate(first):
        assert areas(first)[i] == painted(one).sum()
        for j, other in enumerate(second):
            both = (painted(one) & painted(other)).sum()
            assert shared[i, j] == both
            assert iou[i, j] == pytest.approx(
                both / (painted(one) | painted(other)).sum(), abs=1e-6
            )


@settings(deadline=None)
@given(some_boxes, st.floats(0.1, 0.9), st.randoms(use_true_random=False))
def test_suppression_keeps_the_best_and_nothing_that_overlaps_it(
    boxes: Boxes, iou: float, random: object
) -> None:
    scores = np.linspace(1, 0.1, len(boxes)).astype(np.float32)
    random.shuffle(scores)  # type: ignore[attr-defined]
    kept = suppress(boxes, scores, iou)
    assert kept[0] == scores.argmax()
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)
    overlaps = intersection_over_union(boxes, boxes)
    among = overlaps[np.ix_(kept, kept)] - np.eye(len(kept))
    assert among.max(initial=0) <= iou + 1e-6
    for row in set(range(len(boxes))) - set(kept.tolist()):
        better = [other for other in kept if scores[other] >= scores[row]]
        assert overlaps[row, better].max() > iou


def test_no_boxes_are_no_trouble() -> None:
    none = np.zeros((0, 4), np.float32)
    one = np.asarray([[0, 0, 1, 1]], np.float32)
    assert areas(none).shape == (0,)
    assert intersections(none, one).shape == (0, 1)
    assert intersection_over_union(one, none).shape == (1, 0)
    assert suppress(none, np.zeros(0, np.float32), 0.5).shape == (0,)


def test_inverted_and_empty_boxes_have_no_area() -> None:
    odd = np.asarray([[5, 5, 3, 9], [4, 4, 4, 4]], np.float32)
    assert areas(odd).tolist() == [0, 0]
    assert intersection_over_union(odd, odd).max() == 0
