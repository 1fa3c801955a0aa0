from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.miss_causes import CAUSES, Miss, QueryOutcome, attribute

JAR, TUBE = [0, 0, 10, 10], [20, 20, 30, 30]


def boxes(*rows: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(rows, np.float32).reshape(-1, 4)


def trace() -> QueryOutcome:
    """Both products are seen, found by every step, and kept in the merge."""
    return QueryOutcome(
        query="q",
        labels=["jar", "tube"],
        boxes=boxes(JAR, TUBE),
        proposals=boxes(TUBE, [1, 0, 10, 10]),
        exact=[["tube"], ["jar"]],
        index=[["tube"], ["jar"]],
        merged=["tube", "jar"],
    )


def causes(trace: QueryOutcome) -> list[tuple[str, str]]:
    return [(miss.label, miss.cause) for miss in attribute(trace, iou=0.5)]


def test_what_is_found_is_no_miss() -> None:
    assert attribute(trace(), iou=0.5) == []


def test_a_box_without_a_proposal_is_the_detectors() -> None:
    blind = replace(trace(), proposals=boxes(TUBE, [6, 0, 16, 10]), merged=["tube"])
    assert attribute(blind, iou=0.5) == [Miss("q", "jar", "detector")]


def test_no_proposal_at_all_is_the_detectors() -> None:
    assert causes(replace(trace(), proposals=boxes(), merged=[])) == [
        ("jar", "detector"),
        ("tube", "detector"),
    ]


def test_what_exact_search_misses_too_is_the_encoders() -> None:
    lost = replace(trace(), exact=[["tube"], ["stick"]], index=[["tube"], []], merged=["tube"])
    assert causes(lost) == [("jar", "encoder")]


def test_what_only_exact_search_finds_is_the_indexes() -> None:
    lost = replace(trace(), index=[["tube"], ["stick"]], merged=["tube"])
    assert causes(lost) == [("jar", "index")]


def test_what_an_instance_found_is_lost_in_merging() -> None:
    assert causes(replace(trace(), merged=["tube"])) == [("jar", "merging")]


def test_without_known_boxes_the_detector_is_not_blamed() -> None:
    lost = replace(trace(), boxes=None, proposals=boxes(), exact=[], index=[], merged=["tube"])
    assert causes(lost) == [("jar", "encoder")]


def test_a_label_that_is_there_twice_is_one_miss_and_seen_once_is_enough() -> None:
    twice = replace(
        trace(), labels=["jar", "jar"], boxes=boxes(JAR, [50, 50, 60, 60]), merged=["tube"]
    )
    assert causes(twice) == [("jar", "merging")]


LABELS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=5)
FOUND = st.lists(st.lists(st.sampled_from("abcd"), max_size=3), max_size=3)


@given(
    LABELS,
    st.lists(st.booleans(), min_size=5, max_size=5),
    FOUND,
    FOUND,
    st.sets(st.sampled_from("abcd")),
)
def test_every_miss_has_one_cause_and_every_find_none(
    labels: list[str],
    seen: list[bool],
    exact: list[list[str]],
    index: list[list[str]],
    merged: set[str],
) -> None:
    true = [[20 * place, 0, 20 * place + 10, 10] for place in range(len(labels))]
    proposals = [box for box, visible in zip(true, seen, strict=False) if visible]
    misses = attribute(
        QueryOutcome("q", labels, boxes(*true), boxes(*proposals), exact, index, merged), iou=0.5
    )
    assert [miss.label for miss in misses] == [
        label for label in dict.fromkeys(labels) if label not in merged
    ]
    assert {miss.cause for miss in misses} <= set(CAUSES)


@pytest.mark.parametrize("iou", [0.3, 0.9])
def test_the_overlap_decides_what_is_seen(iou: float) -> None:
    loose = replace(trace(), proposals=boxes(TUBE, [3, 0, 10, 10]), merged=["tube"])
    expected = "merging" if iou < 0.7 else "detector"
    assert [miss.cause for miss in attribute(loose, iou)] == [expected]
