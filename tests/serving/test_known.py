import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.known import SIGNS, probability, signs

WEIGHTS = {"score": 6.0, "lead": 4.0, "seen": 0.5, "bias": -4.0}
COSINES = st.floats(-1, 1)


def test_a_lone_product_leads_by_its_whole_score() -> None:
    assert signs([0.8], 0.9) == (0.8, 0.8, 0.9)
    assert signs([0.8, 0.5], 0.9) == pytest.approx((0.8, 0.3, 0.9))


@given(st.tuples(COSINES, COSINES, st.floats(0, 1)), st.sampled_from(SIGNS), st.floats(0.01, 1))
def test_more_of_any_sign_is_more_likely_known(
    values: tuple[float, float, float], sign: str, more: float
) -> None:
    raised = [value + more * (name == sign) for name, value in zip(SIGNS, values, strict=True)]
    before, after = probability(values, WEIGHTS), probability(raised, WEIGHTS)
    assert 0 <= before < after <= 1
