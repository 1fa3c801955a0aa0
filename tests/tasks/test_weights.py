import numpy as np

from serving.embedding import Vectors, join_parts, split_parts, unit
from tasks.parity import compare
from tasks.weights import DevQuery, fit_weights

GRID = [0.0, 0.5, 1.0, 2.0]


def _rows(seed: int, count: int, size: int = 6) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32))


def test_the_fit_finds_the_part_that_knows_the_answer() -> None:
    labels = [f"p{row // 2}" for row in range(20)]
    gallery = {"good": np.repeat(_rows(0, 10), 2, axis=0), "noise": _rows(1, 20)}
    instances = {"good": gallery["good"][::2], "noise": _rows(2, 10)}
    queries = [DevQuery(frozenset([f"p{row}"]), np.asarray([row])) for row in range(10)]
    ids = [f"g{row}" for row in range(20)]
    start = {"good": 0.5, "noise": 2.0}
    weights = fit_weights(queries, instances, gallery, ids, labels, start, GRID)
    assert weights["good"] > weights["noise"]


def test_a_part_that_starts_at_zero_stays_out() -> None:
    gallery = {"a": _rows(0, 4), "b": _rows(1, 4)}
    query = [DevQuery(frozenset(["x"]), np.asarray([0]))]
    instances = {"a": _rows(2, 1), "b": _rows(3, 1)}
    ids, start = ["1", "2", "3", "4"], {"a": 1.0, "b": 0.0}
    weights = fit_weights(query, instances, gallery, ids, ["x", "y", "z", "x"], start, GRID)
    assert weights["b"] == 0


def test_the_inner_product_is_the_weighted_sum_of_cosines() -> None:
    order, sizes = ("a", "b"), (6, 3)
    item = {"a": _rows(0, 5), "b": _rows(1, 5, 3)}
    query = {"a": _rows(2, 1), "b": _rows(3, 1, 3)}
    scores = join_parts(query, order, [0.2, 0.9]) @ join_parts(item, order).T
    expected = 0.2 * query["a"] @ item["a"].T + 0.9 * query["b"] @ item["b"].T
    assert np.corrcoef(scores[0], expected[0])[0, 1] > 0.999999
    parts = split_parts(join_parts(item, order), order, sizes)
    np.testing.assert_allclose(parts["b"], item["b"], atol=1e-6)


def test_parity_of_equal_and_of_different_outputs() -> None:
    rows = _rows(0, 30)
    same = compare([rows], [rows.copy()], retrieve=True)
    assert (same.max_difference, same.top10_agreement) == (0, 1)
    other = compare([rows], [_rows(1, 30)], retrieve=True)
    assert other.min_cosine < 0.9
    assert other.top10_agreement is not None
    assert other.top10_agreement < 0.9
