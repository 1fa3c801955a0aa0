"""Each quirk of Product1M's protocol as a case worked out by hand, then against a reference."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.product1m_protocol import Failure, Official, official

GALLERY = {
    "jar1": "jar",
    "jar2": "jar",
    "jar3": "jar",
    "tube1": "tube",
    "tube2": "tube",
    "stick1": "stick",
}


def score(labels: Sequence[str], ranking: Sequence[str], k: int = 10) -> Official:
    return official([("q", ranking)], {"q": labels}, GALLERY, k)


def figures(result: Official) -> tuple[float, float, float]:
    return result.mean_average_precision, result.precision, result.average_recall


def expect(result: Official, *values: float) -> None:
    assert figures(result) == pytest.approx(values, rel=0, abs=1e-12)


def test_places_looked_at_are_the_fewest_of_k_relevant_and_ranked() -> None:
    # jar has 3 items: K' = 3, so the hit at rank 4 counts in mAR only.
    expect(score(["jar"], ["tube1", "jar1", "stick1", "jar2"]), (1 / 2) / 1, 1 / 3, 2 / min(10, 3))
    # K = 2 < 3 relevant.
    expect(score(["jar"], ["tube1", "jar1", "jar2"], k=2), (1 / 2) / 1, 1 / 2, 1 / 2)
    # 1 ranked < 3 relevant.
    expect(score(["jar"], ["jar1"]), 1 / 1, 1 / 1, 1 / 3)


def test_average_precision_is_divided_by_the_hits_found() -> None:
    result = score(["jar", "tube"], ["jar1", "stick1", "jar2", "nothing"][:3])
    expect(result, (1 / 1 + 2 / 3) / 2, 2 / 3, (2 / 3 + 0 / 2) / 2)


def test_no_hit_is_zero() -> None:
    expect(score(["stick"], ["jar1", "tube1"]), 0, 0, 0)


def test_relevant_items_of_a_repeated_label_count_repeatedly() -> None:
    # K' = min(10, 2 + 2, 4) = 4, where the label named once would give 2.
    ranking = ["tube1", "jar1", "jar2", "tube2"]
    expect(score(["tube", "tube"], ranking), (1 / 1 + 2 / 4) / 2, 2 / 4, 2 / min(2 * 5, 2))
    expect(score(["tube"], ranking), (1 / 1) / 1, 1 / 2, 2 / min(10, 2))


def test_recall_expects_the_floor_of_k_by_labels_for_each_occurrence() -> None:
    # Three labels at K = 5: floor(5 / 3) = 1 each, 2 for the one named twice.
    ranking = ["jar1", "jar2", "jar3", "tube1", "stick1"]
    hits = (1 / 1 + 2 / 2 + 3 / 3 + 4 / 4) / 4
    expect(score(["jar", "jar", "tube"], ranking, k=5), hits, 4 / 5, (2 / 2 + 1 / 1) / 2)
    expect(score(["jar", "tube", "tube"], ranking, k=5), hits, 4 / 5, (1 / 1 + 1 / 2) / 2)


def test_recall_expects_at_most_what_the_gallery_has() -> None:
    expect(score(["stick"], ["stick1"]), 1, 1, 1 / min(10, 1))


def test_recall_counts_at_most_what_it_expects() -> None:
    ranking = ["jar1", "jar2", "jar3", "tube1"]
    result = score(["jar", "tube"], ranking, k=4)
    expect(result, 1, 1, (min(3, 2) / 2 + 1 / 2) / 2)


def test_recall_looks_at_k_places_though_precision_looks_at_fewer() -> None:
    ranking = ["jar1", "jar2", "stick1"]
    expect(score(["stick"], ranking), 0, 0 / 1, 1 / 1)


def test_an_id_ranked_twice_hits_twice() -> None:
    expect(score(["tube"], ["tube1", "tube1"]), (1 + 1) / 2, 2 / 2, min(2, 2) / 2)


def test_a_query_ranked_twice_counts_twice() -> None:
    result = official([("q", ["jar1"]), ("q", ["tube1"])], {"q": ["jar"]}, GALLERY, 10)
    expect(result, (1 + 0) / 2, (1 + 0) / 2, (1 / 3 + 0) / 2)


def with_a_perfect_query(queries: dict[str, list[str]], ranking: list[str], k: int) -> Official:
    rankings = [("broken", ranking), ("perfect", ["stick1"])]
    return official(rankings, queries | {"perfect": ["stick"]}, GALLERY, k)


def test_a_label_expected_nowhere_but_found_keeps_ap_and_precision() -> None:
    # Three labels at K = 2: floor(2 / 3) = 0 of each is expected.
    result = with_a_perfect_query({"broken": ["jar", "tube", "stick"]}, ["tube1", "jar1"], 2)
    expect(result, (1 + 1) / 2, (1 + 1) / 2, (0 + 1) / 2)
    reason = "label 'jar' is found where none of it is expected"
    assert result.failures == (Failure("broken", reason),)


def test_a_label_expected_nowhere_and_not_found_is_no_failure() -> None:
    gallery = GALLERY | {"brush1": "brush"}
    result = official([("q", ["brush1"])], {"q": ["jar", "tube", "stick"]}, gallery, 2)
    expect(result, 0, 0, 0)
    assert result.failures == ()


def test_a_ranked_id_outside_the_gallery_keeps_ap_and_precision() -> None:
    result = with_a_perfect_query({"broken": ["jar"]}, ["jar1", "unknown", "jar2"], 10)
    expect(result, ((1 / 1 + 2 / 3) / 2 + 1) / 2, (2 / 3 + 1) / 2, (0 + 1) / 2)
    assert result.failures == (Failure("broken", "ranked id 'unknown' is not in the gallery"),)


def test_an_unknown_id_beyond_k_is_not_looked_at() -> None:
    assert score(["jar"], ["jar1", "unknown"], k=1).failures == ()


def test_a_label_outside_the_gallery_keeps_nothing() -> None:
    result = with_a_perfect_query({"broken": ["jar", "soap"]}, ["jar1"], 10)
    expect(result, 1 / 2, 1 / 2, 1 / 2)
    assert result.failures == (Failure("broken", "label 'soap' is not in the gallery"),)


def test_a_query_without_annotation_keeps_nothing() -> None:
    result = with_a_perfect_query({}, ["jar1"], 10)
    expect(result, 1 / 2, 1 / 2, 1 / 2)
    assert [failure.query for failure in result.failures] == ["broken"]


def test_an_empty_ranking_keeps_nothing() -> None:
    result = with_a_perfect_query({"broken": ["jar"]}, [], 10)
    expect(result, 1 / 2, 1 / 2, 1 / 2)
    assert [failure.query for failure in result.failures] == ["broken"]


def test_no_rankings_is_an_error() -> None:
    with pytest.raises(ValueError, match="there are none"):
        official([], {}, GALLERY, 10)


def test_the_keys_are_those_of_the_published_script() -> None:
    assert score(["stick"], ["stick1"]).as_json() == {"mAP": 1.0, "Prec": 1.0, "mAR": 1.0}


def reference(
    rankings: list[tuple[str, list[str]]],
    queries: dict[str, list[str]],
    gallery: dict[str, str],
    k: int,
) -> tuple[float, float, float]:
    """The protocol as exceptions make it: whatever raises stops the query."""
    sums = [0.0, 0.0, 0.0]
    for query, ids in rankings:
        try:
            labels = queries[query]
            pool = [[item for item in gallery if gallery[item] == label] for label in labels]
            if not all(pool):
                raise KeyError(query)
            positives = [item for items in pool for item in items]
            places = range(min(k, len(positives), len(ids)))
            marks = [ids[place] in positives for place in places]
            precisions = [sum(marks[: place + 1]) / (place + 1) for place in places if marks[place]]
            ap = sum(precisions) / len(precisions) if precisions else 0
            sums[1] += sum(marks) / len(places)
            sums[0] += ap
            seen = [gallery[item] for item in ids[:k]]
            recall = 0.0
            for label in set(labels) & set(seen):
                room = int(k / len(labels)) * labels.count(label)
                room = min(room, len([item for item in gallery if gallery[item] == label]))
                recall += min(seen.count(label), room) / room
            sums[2] += recall / len(set(labels))
        except (KeyError, ZeroDivisionError):
            pass
    return sums[0] / len(rankings), sums[1] / len(rankings), sums[2] / len(rankings)


LABELS = st.sampled_from(["a", "b", "c", "d", "absent"])
IDS = st.sampled_from([f"g{number}" for number in range(14)])


@given(
    gallery=st.dictionaries(IDS, st.sampled_from(["a", "b", "c", "d"]), min_size=1),
    queries=st.dictionaries(
        st.sampled_from("wxyz"), st.lists(LABELS, min_size=1, max_size=6), min_size=1
    ),
    rankings=st.lists(
        st.tuples(st.sampled_from("wxyz"), st.lists(IDS, max_size=14)), min_size=1, max_size=6
    ),
    k=st.sampled_from([1, 2, 3, 5, 10, 50, 100]),
)
def test_agrees_with_the_reference(
    gallery: dict[str, str],
    queries: dict[str, list[str]],
    rankings: list[tuple[str, list[str]]],
    k: int,
) -> None:
    result = official(rankings, queries, gallery, k)
    assert figures(result) == pytest.approx(
        reference(rankings, queries, gallery, k), rel=0, abs=1e-12
    )
