import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.embedding import TERMS
from serving.known import SEEN, SIGNS, Nearest, probability, signs

WEIGHTS = dict.fromkeys(SIGNS, 0.0) | {"score": 6.0, "lead": 4.0, "bias": -4.0}
COSINES = st.floats(-1, 1)


def nearest(scores: list[float], products: str) -> Nearest:
    cosines = {
        term: np.asarray(scores, np.float32) * np.float32(0.9) ** place
        for place, term in enumerate(TERMS)
    }
    among = dict.fromkeys(SEEN, np.full((len(scores),) * 2, 0.3, np.float32))
    return Nearest(np.asarray(scores, np.float32), list(products), cosines, among)


def told(near: Nearest) -> dict[str, float]:
    return dict(zip(SIGNS, signs(near).tolist(), strict=True))


def test_the_best_product_leads_the_others_not_its_own_photos() -> None:
    found = told(nearest([0.9, 0.8, 0.5, 0.4, 0.1], "aabac"))
    assert found["score"] == pytest.approx(0.9)
    assert found["lead"] == pytest.approx(0.4)
    assert found["ahead"] == pytest.approx(0.9 - (0.5 + 0.1) / 2)
    assert found["photos"] == pytest.approx((0.9 + 0.8 + 0.4) / 3)


def test_a_product_that_fills_the_neighbourhood_leads_what_lies_beyond() -> None:
    found = told(nearest([0.9, 0.8, 0.7], "aaa"))
    assert found["lead"] == pytest.approx(0.2)
    assert told(nearest([0.9], "a"))["lead"] == 0


def test_every_term_tells_of_all_photos_and_of_the_best_products() -> None:
    near = nearest([0.9, 0.8, 0.7], "aba")
    near.cosines["title_to_photo"][:] = [0.1, 0.6, 0.3]
    found = told(near)
    assert found["nearest_title_to_photo"] == pytest.approx(0.6)
    assert found["first_title_to_photo"] == pytest.approx(0.3)


def test_a_stranger_lies_elsewhere_among_the_others_than_the_best_product() -> None:
    near = nearest([0.9, 0.8, 0.7, 0.5], "abac")
    near.cosines["visual"][:] = [0.9, 0.6, 0.8, 0.4]
    near.among["visual"][[0, 2], 1] = [0.5, 0.3]
    near.among["visual"][[0, 2], 3] = [0.2, 0.0]
    found = told(near)
    assert found["beyond_visual"] == pytest.approx((0.6 + 0.4) / 2 - (0.4 + 0.1) / 2)
    assert told(nearest([0.9, 0.8], "aa"))["beyond_visual"] == 0


@given(st.lists(COSINES, min_size=1, max_size=20), st.data())
def test_signs_are_finite_numbers_of_any_neighbourhood(
    scores: list[float], data: st.DataObject
) -> None:
    ordered = sorted(scores, reverse=True)
    products = data.draw(st.text("abcd", min_size=len(ordered), max_size=len(ordered)))
    values = signs(nearest(ordered, products))
    assert values.shape == (len(SIGNS),)
    assert np.isfinite(values).all()


@given(
    st.lists(COSINES, min_size=len(SIGNS), max_size=len(SIGNS)),
    st.sampled_from(["score", "lead"]),
    st.floats(0.01, 1),
)
def test_more_of_a_sign_that_counts_is_more_likely_known(
    values: list[float], sign: str, more: float
) -> None:
    raised = [value + more * (name == sign) for name, value in zip(SIGNS, values, strict=True)]
    before, after = (probability(np.asarray(row), WEIGHTS) for row in (values, raised))
    assert 0 <= before < after <= 1
