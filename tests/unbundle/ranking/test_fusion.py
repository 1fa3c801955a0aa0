import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from unbundle.ranking.fusion import CROWD, fuse, interleave

RANKINGS = st.lists(st.lists(st.integers(0, 20).map(str), unique=True), max_size=5)
DEPTHS = st.integers(0, 30)


def test_instances_take_turns_best_instance_first() -> None:
    assert interleave([["a", "b", "c"], ["x", "y", "z"]], 5) == ["a", "x", "b", "y", "c"]


def test_an_instance_skips_what_another_took() -> None:
    assert interleave([["a", "b", "c"], ["a", "b", "d"]], 4) == ["a", "b", "c", "d"]


def test_a_short_list_leaves_its_turns_to_the_others() -> None:
    assert interleave([["a"], ["x", "y", "z"], []], 4) == ["a", "x", "y", "z"]


def test_nothing_gives_nothing() -> None:
    assert interleave([], 5) == []
    assert interleave([["a"]], 0) == []


@given(RANKINGS, DEPTHS)
def test_the_merge_holds_every_id_once_and_stops_at_the_depth(
    rankings: list[list[str]], depth: int
) -> None:
    merged = interleave(rankings, depth)
    everything = {item for ranking in rankings for item in ranking}
    assert len(merged) == len(set(merged)) == min(depth, len(everything))
    assert set(merged) <= everything


@given(st.lists(st.integers().map(str), unique=True), DEPTHS)
def test_one_ranking_is_its_own_merge(ranking: list[str], depth: int) -> None:
    assert interleave([ranking], depth) == ranking[:depth]


@given(RANKINGS, DEPTHS)
def test_a_deeper_merge_begins_with_the_shallower_one(
    rankings: list[list[str]], depth: int
) -> None:
    assert interleave(rankings, depth + 1)[:depth] == interleave(rankings, depth)


@given(RANKINGS)
def test_the_first_places_show_the_best_of_every_instance(rankings: list[list[str]]) -> None:
    merged = interleave(rankings, len(rankings))
    assert {ranking[0] for ranking in rankings if ranking} <= set(merged)


WEIGHTS = {"score": 10.0, "gap": -5.0, "rank": -1.0}
LISTS = st.lists(
    st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6), min_size=1, max_size=4
)


def _falling(lists: list[list[str]]) -> list[NDArray[np.float32]]:
    return [np.linspace(0.9, 0.1, len(ids), dtype=np.float32) for ids in lists]


@given(LISTS, st.integers(1, 9))
def test_merging_holds_every_item_once(lists: list[list[str]], depth: int) -> None:
    merged = fuse(lists, _falling(lists), WEIGHTS, depth)
    everything = set().union(*lists)
    assert len(merged) == len(set(merged)) == min(depth, len(everything))
    assert set(merged) <= everything


def test_a_box_that_found_its_product_comes_before_one_that_found_nothing() -> None:
    sure, lost = np.asarray([0.9, 0.88], np.float32), np.asarray([0.3, 0.29], np.float32)
    assert fuse([["x", "y"], ["a", "b"]], [lost, sure], WEIGHTS, 3) == ["a", "b", "x"]


def test_an_item_counts_by_its_best_instance() -> None:
    scores = [np.asarray([0.5, 0.4], np.float32), np.asarray([0.9], np.float32)]
    assert fuse([["a", "b"], ["b"]], scores, WEIGHTS, 2) == ["b", "a"]


def test_an_instance_that_has_places_gives_way_to_one_that_has_none() -> None:
    crowded, other = np.asarray([0.9, 0.89, 0.88], np.float32), np.asarray([0.7], np.float32)
    lists, scores = [["a", "b", "c"], ["x"]], [crowded, other]
    flat = {"score": 10.0, "gap": 0.0, "rank": 0.0}
    assert fuse(lists, scores, flat, 4) == ["a", "b", "c", "x"]
    assert fuse(lists, scores, {**flat, CROWD: 1.0}, 4) == ["a", "b", "x", "c"]
    assert fuse(lists, scores, {**flat, CROWD: 9.0}, 4) == ["a", "x", "b", "c"]


@given(LISTS, st.floats(0, 3))
def test_a_crowd_changes_the_order_alone(lists: list[list[str]], crowd: float) -> None:
    everything = {item for ids in lists for item in ids}
    merged = fuse(lists, _falling(lists), {**WEIGHTS, CROWD: crowd}, 50)
    assert sorted(merged) == sorted(everything)
    assert merged[:1] == fuse(lists, _falling(lists), WEIGHTS, 1)
