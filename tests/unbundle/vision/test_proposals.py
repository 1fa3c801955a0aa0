import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unbundle.vision.boxes import Boxes, intersection_over_union
from unbundle.vision.proposals import CANDIDATES, Scores, select_proposals


def select(
    boxes: list[list[float]], scores: list[float], factor: float = 1.0, most: int = 8
) -> tuple[Boxes, Scores]:
    return select_proposals(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(scores, np.float32),
        factor,
        width=100,
        height=80,
        min_score=0.3,
        nms_iou=0.5,
        max_proposals=most,
    )


def test_boxes_come_in_photo_pixels_best_first() -> None:
    boxes, scores = select([[5, 5, 10, 20], [30, 10, 45, 40]], [0.5, 0.9], factor=0.5)
    assert boxes.tolist() == [[60, 20, 90, 80], [10, 10, 20, 40]]
    assert scores.tolist() == [np.float32(0.9), np.float32(0.5)]


def test_a_photo_without_products_is_taken_as_a_whole() -> None:
    for boxes, scores in (select([], []), select([[1, 1, 9, 9]], [0.2])):
        assert boxes.tolist() == [[0, 0, 100, 80]]
        assert scores.tolist() == [0]


def test_where_no_box_is_sure_the_whole_photo_comes_last() -> None:
    unsure = [[10, 10, 40, 40], [60, 10, 90, 40]]
    boxes, scores = select(unsure, [0.38, 0.35])
    assert boxes.tolist() == [*unsure, [0, 0, 100, 80]]
    assert scores[-1] == 0
    assert select(unsure, [0.6, 0.4])[0].tolist() == unsure


def test_the_whole_photo_is_not_proposed_twice_nor_beyond_the_limit() -> None:
    nearly = [[2, 2, 98, 78]]
    assert select(nearly, [0.35])[0].tolist() == nearly
    row = [[10 * place, 0, 10 * place + 8, 8] for place in range(8)]
    boxes, _ = select(row, [0.35] * 8, most=3)
    assert boxes.tolist() == [*row[:2], [0, 0, 100, 80]]
    assert select(row, [0.35] * 8, most=1)[0].tolist() == row[:1]


def test_duplicates_go_and_the_better_stays() -> None:
    boxes, _ = select([[10, 10, 50, 50], [18, 10, 58, 50]], [0.6, 0.8])
    assert boxes.tolist() == [[18, 10, 58, 50]]


def test_boxes_that_agree_are_measurements_of_one_product_by_their_squared_scores() -> None:
    boxes, scores = select([[10, 10, 50, 50], [15, 10, 50, 50], [60, 10, 90, 50]], [0.4, 0.8, 0.5])
    assert boxes.tolist() == [[14, 10, 50, 50], [60, 10, 90, 50]]
    assert scores.tolist() == [np.float32(0.8), np.float32(0.5)]


def test_a_part_goes_but_a_product_before_another_stays() -> None:
    bottle, cap = [10, 10, 40, 70], [15, 10, 35, 25]
    assert len(select([bottle, cap], [0.9, 0.4])[0]) == 1
    assert len(select([bottle, cap], [0.9, 0.8])[0]) == 2


def test_a_bundle_of_one_is_one_where_the_others_are_worse_guesses_at_it() -> None:
    best, beside, apart = [10, 10, 50, 70], [30, 20, 75, 78], [80, 10, 98, 40]
    assert select([best, beside], [0.8, 0.4])[0].tolist() == [best]
    assert len(select([best, beside], [0.8, 0.7])[0]) == 2
    assert len(select([best, apart], [0.8, 0.4])[0]) == 2
    assert len(select([best, beside, apart], [0.8, 0.4, 0.4])[0]) == 3


def test_a_group_that_better_boxes_explain_goes() -> None:
    pair = [[10, 10, 40, 70], [45, 10, 75, 70]]
    boxes, _ = select([*pair, [8, 8, 77, 72]], [0.9, 0.8, 0.7])
    assert boxes.tolist() == pair


def test_a_large_product_behind_small_ones_stays() -> None:
    boxes, _ = select([[5, 5, 95, 75], [10, 60, 20, 72], [30, 60, 40, 72]], [0.7, 0.9, 0.8])
    assert len(boxes) == 3


def test_only_the_best_candidates_are_looked_at() -> None:
    weak = [[10.0, 10.0, 40.0, 70.0]] * (2 * CANDIDATES)
    boxes, _ = select([*weak, [50, 10, 80, 70]], [0.5] * len(weak) + [0.9])
    assert boxes.tolist() == [[50, 10, 80, 70], [10, 10, 40, 70]]
    first, _ = select([*weak, [50, 10, 80, 70]], [0.5] * len(weak) + [0.4])
    assert first.tolist() == [[10, 10, 40, 70]]


def test_no_more_than_the_limit() -> None:
    row = [[10 * place, 0, 10 * place + 8, 8] for place in range(8)]
    boxes, scores = select(row, [0.4 + 0.05 * place for place in range(8)], most=3)
    assert boxes[:, 0].tolist() == [70, 60, 50]
    assert len(scores) == 3


number = st.floats(-40, 200, width=32)
cells = st.lists(st.tuples(number, number, number, number, st.floats(0, 1, width=32)), max_size=30)


@settings(deadline=None)
@given(cells, st.floats(0.2, 4))
def test_what_is_selected_lies_in_the_photo_and_does_not_overlap(
    rows: list[tuple[float, ...]], factor: float
) -> None:
    boxes, scores = select([list(row[:4]) for row in rows], [row[4] for row in rows], factor)
    assert 1 <= len(boxes) == len(scores) <= 8
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= (100, 80)).all()
    assert list(scores) == sorted(scores, reverse=True)
    overlaps = intersection_over_union(boxes, boxes) - np.eye(len(boxes), dtype=np.float32)
    assert overlaps.max() <= 0.5 + 1e-6
