from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base.params import Params
from tasks.metrics.ranking import Interval
from tasks.promotion.gate import Candidate, Decision, Measurement, decide

QUERIES = 200


@pytest.fixture(scope="module")
def params(tiny_params: Params) -> Params:
    return with_limits(
        tiny_params,
        min_average_precision=0.3,
        min_coverage=0.5,
        tolerance=0.01,
        slice_tolerance=0.05,
        min_slice=20,
        min_cosine=0.999,
        min_int8_cosine=0.95,
        max_int8_loss=0.005,
        min_index_recall=0.99,
        max_latency_ratio=2.0,
    )


def with_limits(params: Params, **limits: Any) -> Params:
    return params.model_copy(update={"promote": params.promote.model_copy(update=limits)})


def values(seed: int, low: float = 0.4, high: float = 1.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).uniform(low, high, QUERIES)


def champion() -> Measurement:
    return Measurement("products_old", values(1), values(2), latency_ms=20.0)


def candidate(**changes: Any) -> Candidate:
    slices = {"first half": np.arange(QUERIES) < QUERIES // 2, "tiny": np.arange(QUERIES) < 5}
    good = Candidate(
        collection="products_new",
        average_precision=values(1),
        coverage=values(2),
        latency_ms=20.0,
        slices=slices,
        cosines={"detector": 0.99999, "capture": 1.0},
        index_recall=1.0,
        rows=600,
        gallery=600,
    )
    return replace(good, **changes)


def broken(decision: Decision) -> list[str]:
    return [rule.name for rule in decision.rules if not rule.passed]


def test_the_first_candidate_needs_the_floors_only(params: Params) -> None:
    decision = decide(candidate(), None, params)
    assert decision.promoted
    assert decision.champion is None
    assert decision.reason == "promoted: all 6 rules hold"
    assert [rule.name for rule in decision.rules] == [
        "row count",
        "ONNX parity of detector",
        "ONNX parity of capture",
        "index recall@10",
        "mAP@10",
        "coverage@10",
    ]


def test_an_equal_candidate_passes_every_rule(params: Params) -> None:
    decision = decide(candidate(), champion(), params)
    assert decision.promoted
    assert decision.champion == "products_old"
    names = [rule.name for rule in decision.rules]
    assert names[6:] == [
        "mAP@10 against the champion",
        "coverage@10 against the champion",
        "slice first half",
        "query latency",
    ]


def test_small_slices_are_not_judged(params: Params) -> None:
    names = {rule.name for rule in decide(candidate(), champion(), params).rules}
    assert "slice tiny" not in names
    looser = with_limits(params, min_slice=5)
    assert "slice tiny" in {rule.name for rule in decide(candidate(), champion(), looser).rules}


def test_int8_that_costs_little_passes(params: Params) -> None:
    cheap = candidate(int8_cosines={"backbone": 0.98}, int8_gain=-0.004)
    decision = decide(cheap, None, params)
    assert decision.reason == "promoted: all 8 rules hold"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"rows": 599}, "row count"),
        ({"cosines": {"capture": 0.99}}, "ONNX parity of capture"),
        ({"int8_cosines": {"backbone": 0.9}}, "int8 cosine of backbone"),
        ({"int8_gain": -0.006}, "int8 mAP@10 less fp32's"),
        ({"index_recall": 0.98}, "index recall@10"),
        ({"average_precision": values(1) - 0.5}, "mAP@10"),
        ({"coverage": values(2) - 0.3}, "coverage@10"),
    ],
)
def test_each_floor_refuses_the_first_candidate(
    params: Params, changes: dict[str, Any], rule: str
) -> None:
    decision = decide(candidate(**changes), None, params)
    assert not decision.promoted
    assert broken(decision) == [rule]
    assert decision.reason.startswith("refused: ")
    assert "\n" not in decision.reason


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"average_precision": values(1) - 0.02}, "mAP@10 against the champion"),
        ({"coverage": values(2) - 0.02}, "coverage@10 against the champion"),
        ({"latency_ms": 41.0}, "query latency"),
    ],
)
def test_each_comparison_refuses_a_worse_candidate(
    params: Params, changes: dict[str, Any], rule: str
) -> None:
    assert broken(decide(candidate(**changes), champion(), params)) == [rule]


def test_a_loss_within_the_tolerance_passes(params: Params) -> None:
    assert decide(candidate(average_precision=values(1) - 0.009), champion(), params).promoted


def test_an_uncertain_difference_is_refused_though_its_mean_is_zero(params: Params) -> None:
    noise = np.random.default_rng(5).normal(0, 0.3, QUERIES)
    decision = decide(
        candidate(average_precision=values(1) + noise - noise.mean(), slices={}), champion(), params
    )
    assert broken(decision) == ["mAP@10 against the champion"]


def test_a_slice_that_pays_for_the_mean_is_refused(params: Params) -> None:
    first = np.arange(QUERIES) < QUERIES // 2
    shifted = values(1) + np.where(first, -0.06, 0.2)
    decision = decide(candidate(average_precision=shifted), champion(), params)
    assert broken(decision) == ["slice first half"]
    rule = next(rule for rule in decision.rules if not rule.passed)
    assert rule.figures["mAP@10"] == pytest.approx(-0.06)
    assert rule.figures["coverage@10"] == 0
    assert rule.figures["queries"] == 100


def test_every_broken_rule_is_recorded_and_the_first_is_the_reason(params: Params) -> None:
    decision = decide(candidate(rows=0, index_recall=0.5, latency_ms=100), champion(), params)
    assert broken(decision) == ["row count", "index recall@10", "query latency"]
    assert decision.reason == "refused: the collection holds 0 rows, the gallery 600 (and 2 more)"


def test_the_record_survives_json(params: Params) -> None:
    decision = decide(candidate(), champion(), params)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


@settings(deadline=None, max_examples=20)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_better_candidate_is_never_refused_where_a_worse_one_passes(
    params: Params, first: float, second: float
) -> None:
    low, high = sorted([first, second])
    worse, better = (
        decide(candidate(average_precision=values(1) + shift, slices={}), champion(), params)
        for shift in (low, high)
    )
    assert better.promoted or not worse.promoted


def test_answers_that_clients_had_are_judged_where_enough_were_recorded(params: Params) -> None:
    limited = with_limits(params, max_changed=0.2, min_replayed=20)
    many, few = candidate(replayed=20, changed=0.3), candidate(replayed=19, changed=0.3)
    assert broken(decide(many, champion(), limited)) == ["answers that clients had"]
    assert decide(many, champion(), limited).reason.startswith(
        "refused: the first product changes for 30.0% of 20 recorded queries, beyond 20.0%"
    )
    assert decide(few, champion(), limited).promoted
    assert decide(many, champion(), params).promoted, "no limit, no rule"


@pytest.mark.parametrize(
    ("high", "strict", "refused"), [(-0.01, True, True), (0.01, True, False), (-0.01, False, False)]
)
def test_what_is_below_an_untrained_baseline_beyond_noise_is_no_candidate(
    high: float, strict: bool, refused: bool, params: Params
) -> None:
    titles = {"mAP": Interval(high - 0.02, high - 0.04, high), "coverage": Interval(0.1, 0, 0.2)}
    judged = candidate(over_baselines={"title": titles})
    decision = decide(judged, champion(), with_limits(params, beat_baselines=strict))
    assert broken(decision) == (["mAP@10 against the baseline title"] if refused else [])
