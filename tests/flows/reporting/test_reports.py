import json
from collections.abc import Callable
from typing import Any

import pytest

from flows.reporting.reports import comparison, report_decision
from tasks.promotion.gate import Decision, Rule


def test_the_comparison_puts_every_system_in_a_row() -> None:
    def summary(value: float) -> dict[str, Any]:
        interval = {"mean": value, "low": value - 0.1, "high": value + 0.1}
        return {"mAP": interval, "coverage": interval}

    figures = {
        "queries": {"count": 1200, "split": "test"},
        "corrected": {"top10": summary(0.5), "top50": summary(0.9)},
        "baselines": {"image only": summary(0.4)},
    }
    lines = comparison(figures).splitlines()
    assert "1,200 queries of split test" in lines[0]
    assert "top10" in lines[0]
    assert "| CAPTURE | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |" in lines
    assert "| image only | 0.400 (0.300 to 0.500) | 0.400 (0.300 to 0.500) |" in lines


@pytest.mark.usefixtures("prefect_server")
def test_a_decision_shows_every_rule(left: Callable[[Any], dict[str, Any]]) -> None:
    from prefect import flow

    rules = (
        Rule(name="rows", passed=True, line="they agree", figures={"rows": 3, "gallery": 3}),
        Rule(name="mAP@10", passed=False, line="too low", figures={"value": 0.123456}),
    )
    decision = Decision(
        promoted=False, reason="refused", candidate="products_2", champion=None, rules=rules
    )

    @flow
    def deciding() -> None:
        report_decision(decision)

    table = json.loads(left(deciding(return_state=True))["gate"])
    assert [(row["rule"], row["holds"], row["because"], row["figures"]) for row in table] == [
        ("rows", True, "they agree", "rows 3, gallery 3"),
        ("mAP@10", False, "too low", "value 0.1235"),
    ]
