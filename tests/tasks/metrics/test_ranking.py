import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.metrics.ranking import average_precision, bootstrap, corrected, instance_coverage
from unbundle.base.errors import UserError

GALLERY = {"jar1": "jar", "jar2": "jar", "tube1": "tube", "stick1": "stick"}
IDS = st.sampled_from([f"g{number}" for number in range(12)])
RANKINGS = st.lists(IDS, unique=True)
RELEVANT = st.sets(IDS)
GALLERIES = st.dictionaries(IDS, st.sampled_from("abcd"), min_size=1)
KS = st.integers(1, 15)


def test_average_precision_is_divided_by_what_could_be_found() -> None:
    ranking = ["jar1", "tube1", "jar2"]
    assert average_precision(ranking, {"jar1", "jar2"}, 10) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(ranking, {"jar1", "jar2", "jar3"}, 10) == pytest.approx(
        (1 / 1 + 2 / 3) / 3
    )
    assert average_precision(ranking, {"jar1", "jar2", "jar3"}, 2) == pytest.approx((1 / 1) / 2)


def test_nothing_relevant_scores_zero() -> None:
    assert average_precision(["jar1"], set(), 10) == 0


def test_coverage_counts_labels_not_items() -> None:
    ranking = ["jar1", "jar2", "stick1"]
    assert instance_coverage(ranking, {"jar", "tube"}, GALLERY, 10) == 1 / 2
    assert instance_coverage(ranking, {"jar", "stick"}, GALLERY, 2) == 1 / 2
    assert instance_coverage(["elsewhere", "tube1"], {"tube"}, GALLERY, 2) == 1


def test_a_repeated_label_is_one_label() -> None:
    result = corrected({"q": ["jar1", "jar2"]}, {"q": ["jar", "jar"]}, GALLERY, [10])
    assert result.average_precision[10] == [1]
    assert result.coverage[10] == [1]


def test_a_query_without_ranking_counts_as_zero() -> None:
    queries = {"first": ["jar"], "second": ["tube"]}
    result = corrected({"second": ["tube1"]}, queries, GALLERY, [10, 50])
    assert result.queries == ("first", "second")
    assert result.average_precision[10].tolist() == [0, 1]
    assert result.coverage[50].tolist() == [0, 1]


def test_a_ranking_with_duplicates_is_refused() -> None:
    with pytest.raises(UserError, match=r"^query q: its ranking holds jar1 twice"):
        corrected({"q": ["jar1", "tube1", "jar1"]}, {"q": ["jar"]}, GALLERY, [10])


@given(RANKINGS, RELEVANT, KS)
def test_average_precision_lies_between_zero_and_one(
    ranking: list[str], relevant: set[str], k: int
) -> None:
    assert 0 <= average_precision(ranking, relevant, k) <= 1 + 1e-12


@given(st.sets(IDS, min_size=1), RANKINGS, KS)
def test_a_perfect_ranking_scores_one(relevant: set[str], rest: list[str], k: int) -> None:
    ranking = [*relevant, *(item for item in rest if item not in relevant)]
    assert average_precision(ranking, relevant, k) == pytest.approx(1)


@given(RANKINGS, RELEVANT, KS)
def test_average_precision_agrees_with_its_definition(
    ranking: list[str], relevant: set[str], k: int
) -> None:
    places = min(k, len(relevant))
    gains = [
        len(set(ranking[: rank + 1]) & relevant) / (rank + 1)
        for rank in range(min(k, len(ranking)))
        if ranking[rank] in relevant
    ]
    expected = sum(gains) / places if places else 0
    assert average_precision(ranking, relevant, k) == pytest.approx(expected, abs=1e-12)


@given(RANKINGS, RELEVANT, KS, st.integers(0, 10))
def test_moving_a_hit_up_never_hurts(
    ranking: list[str], relevant: set[str], k: int, place: int
) -> None:
    if not 0 < place < len(ranking) or ranking[place] not in relevant:
        return
    better = ranking.copy()
    better[place - 1], better[place] = better[place], better[place - 1]
    assert average_precision(better, relevant, k) >= average_precision(ranking, relevant, k) - 1e-12


@given(RANKINGS, GALLERIES, st.sets(st.sampled_from("abcd"), min_size=1), KS)
def test_coverage_grows_with_k_and_stays_in_bounds(
    ranking: list[str], gallery: dict[str, str], labels: set[str], k: int
) -> None:
    smaller = instance_coverage(ranking, labels, gallery, k)
    larger = instance_coverage(ranking, labels, gallery, k + 1)
    assert 0 <= smaller <= larger <= 1


@given(
    RANKINGS,
    GALLERIES,
    st.lists(st.sampled_from("abcd"), min_size=1),
    st.permutations(list("abcd")),
    st.randoms(use_true_random=False),
)
def test_names_and_order_of_labels_do_not_matter(
    ranking: list[str],
    gallery: dict[str, str],
    labels: list[str],
    names: list[str],
    shuffler: random.Random,
) -> None:
    rename = dict(zip("abcd", names, strict=True))
    renamed = [rename[label] for label in labels]
    shuffler.shuffle(renamed)
    first = corrected({"q": ranking}, {"q": labels}, gallery, [5])
    relabelled = {item: rename[label] for item, label in gallery.items()}
    second = corrected({"q": ranking}, {"q": renamed}, relabelled, [5])
    assert first.average_precision[5] == second.average_precision[5]
    assert first.coverage[5] == second.coverage[5]


def test_the_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    generator = np.random.default_rng(0)
    few, many = generator.random(40), generator.random(4000)
    first, second = bootstrap(few, 2000, seed=1), bootstrap(many, 2000, seed=1)
    assert first.low < first.mean < first.high
    assert second.high - second.low < (first.high - first.low) / 5


def test_the_interval_is_the_normal_one_where_that_is_known() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    interval = bootstrap(values, 4000, seed=1)
    deviation = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - deviation, abs=0.1 * deviation)
    assert interval.high == pytest.approx(values.mean() + deviation, abs=0.1 * deviation)


def test_the_interval_is_seeded() -> None:
    values = np.linspace(0, 1, 50)
    assert bootstrap(values, 500, seed=1) == bootstrap(values, 500, seed=1)
    assert bootstrap(values, 500, seed=1) != bootstrap(values, 500, seed=2)


def test_pairing_sees_a_small_steady_gain_that_intervals_hide() -> None:
    champion = np.random.default_rng(0).random(200)
    candidate = champion + 0.01
    assert bootstrap(candidate - champion, 1000, seed=1).low > 0
    assert bootstrap(candidate, 1000, seed=1).low < bootstrap(champion, 1000, seed=1).high


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_interval_of_values_in_bounds_stays_in_them(values: list[float]) -> None:
    interval = bootstrap(np.array(values), 200, seed=3)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9


def test_no_queries_is_an_error() -> None:
    with pytest.raises(ValueError, match="there are none"):
        bootstrap(np.array([]), 100, seed=1)


def test_junk_is_no_answer() -> None:
    gallery = {"jar1": "jar", "jar2": "jar", "tube1": "tube"}
    ranking = {"q": ["jar2", "tube1"]}
    with_junk = corrected(ranking, {"q": ["jar"]}, gallery, [10], {"q": ["jar1"]})
    assert with_junk.average_precision[10].tolist() == [1.0]
    assert corrected(ranking, {"q": ["jar"]}, gallery, [10]).average_precision[10].tolist() == [0.5]
