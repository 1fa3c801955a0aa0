import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.calibration.fit_embedding_weights import (
    AnswerKey,
    DevQuery,
    best_items,
    fit_weights,
    quality,
)
from tasks.model_bundle.parity import compare
from unbundle.ranking.embedding_parts import (
    PARTS,
    TERMS,
    Vectors,
    join_parts,
    query_vectors,
    split_parts,
    unit,
)

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
    scores = {part: instances[part] @ gallery[part].T for part in start}
    weights = fit_weights(queries, scores, AnswerKey.of(ids, labels), start, GRID)
    assert weights["good"] > weights["noise"]


def _noisy(seed: int, queries: int, good: float) -> tuple[list[DevQuery], dict[str, Vectors]]:
    """Queries of 40 products, and scores of five terms, of which `plain` tells `good` much."""
    drawn = np.random.default_rng(seed)
    rows = drawn.integers(40, size=queries)
    asked = [
        DevQuery(frozenset([f"p{row}"]), np.asarray([place])) for place, row in enumerate(rows)
    ]
    scores = {
        term: drawn.normal(size=(queries, 40)).astype(np.float32)
        for term in ("raw", "colour", "visual", "text", "joint")
    }
    scores["raw"][np.arange(queries), rows] += good
    return asked, scores


ANSWERS = AnswerKey.of([f"g{row}" for row in range(40)], [f"p{row}" for row in range(40)])
START = {"raw": 0.2, "colour": 1.0, "visual": 1.0, "text": 1.0, "joint": 1.0}


def _judged(seed: int, weights: dict[str, float], good: float) -> float:
    """On a thousand queries that no fit has seen."""
    queries, scores = _noisy(1000 + seed, 1000, good)
    total = sum((weights[term] * scores[term] for term in scores), np.zeros(1, np.float32))
    rankings = [[ANSWERS.ids[item] for item in row] for row in best_items(total, 10)]
    return quality(queries, rankings, ANSWERS)


@pytest.mark.parametrize("count", [7, 16, 60])
def test_no_number_of_queries_leads_below_the_start_and_the_plain_search(count: int) -> None:
    """In the mean of eight catalogues; here the plain search is what is right."""
    found, start, plain = np.zeros(3)
    for seed in range(8):
        queries, scores = _noisy(seed, count, 2.0)
        weights = fit_weights(queries, scores, ANSWERS, START, GRID)
        found += _judged(seed, weights, 2.0)
        start += _judged(seed, START, 2.0)
        plain += _judged(seed, dict.fromkeys(START, 0.0) | {"raw": 1.0}, 2.0)
    assert found > start
    assert found >= plain - 0.02 * 8


def test_where_nothing_tells_more_the_start_is_kept_or_what_is_plain() -> None:
    for seed in range(6):
        queries, scores = _noisy(seed, 6, 0.0)
        weights = fit_weights(queries, scores, ANSWERS, START, GRID)
        assert weights in (START, dict.fromkeys(START, 0.0) | {"raw": 1.0})


def test_a_part_that_starts_at_zero_stays_out() -> None:
    gallery = {"a": _rows(0, 4), "b": _rows(1, 4)}
    query = [DevQuery(frozenset(["x"]), np.asarray([0]))]
    instances = {"a": _rows(2, 1), "b": _rows(3, 1)}
    ids, start = ["1", "2", "3", "4"], {"a": 1.0, "b": 0.0}
    scores = {part: instances[part] @ gallery[part].T for part in start}
    weights = fit_weights(query, scores, AnswerKey.of(ids, ["x", "y", "z", "x"]), start, GRID)
    assert weights["b"] == 0


def test_the_inner_product_is_the_weighted_sum_of_cosines() -> None:
    order, sizes = PARTS, (6, 4, 3, 3, 3, 5)
    item = {
        part: _rows(row, 5, size) for row, (part, size) in enumerate(zip(order, sizes, strict=True))
    }
    heads = {
        part: _rows(9 + row, 1, size)
        for row, (part, size) in enumerate(zip(order, sizes, strict=True))
    }
    heads["read"], heads["lexical_read"] = _rows(20, 1, 3), _rows(21, 1, 5)
    weights = {term: 0.1 * place for place, term in enumerate(TERMS, start=1)}
    scores = query_vectors(heads, order, weights) @ join_parts(item, order).T
    expected = sum(
        weights[term] * heads[head] @ item[part].T for term, (head, part) in TERMS.items()
    )
    assert np.corrcoef(scores[0], np.asarray(expected)[0])[0, 1] > 0.999999
    parts = split_parts(join_parts(item, order), order, sizes)
    np.testing.assert_allclose(parts["visual"], item["visual"], atol=1e-6)


def test_parity_of_equal_and_of_different_outputs() -> None:
    rows = _rows(0, 30)
    same = compare([rows], [rows.copy()], retrieve=True)
    assert (same.max_difference, same.top10_agreement) == (0, 1)
    other = compare([rows], [_rows(1, 30)], retrieve=True)
    assert other.min_cosine < 0.9
    assert other.top10_agreement is not None
    assert other.top10_agreement < 0.9


@given(
    st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=width, max_size=width),
            max_size=5,
        ).map(lambda rows: np.asarray(rows, np.float32).reshape(-1, width))
    ),
    st.integers(1, 6),
)
def test_the_best_items_are_those_of_a_stable_sort(scores: NDArray[np.float32], depth: int) -> None:
    depth = min(depth, scores.shape[1])
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :depth].tolist()
    assert best_items(scores, depth) == expected
