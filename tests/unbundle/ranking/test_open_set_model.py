from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbundle.ranking.embedding_parts import TERMS
from unbundle.ranking.open_set_model import (
    FEATURES,
    SEEN,
    SKEW,
    SPREAD,
    Nearest,
    Tree,
    open_set_features,
    probability,
)
from unbundle.vision.geometric_verification import NONE, Evidence

WEIGHTS = dict.fromkeys(FEATURES, 0.0) | {"score": 6.0, "lead": 4.0, "bias": -4.0}
COSINES = st.floats(-1, 1)


def nearest(
    scores: list[float], products: str, evidence: Sequence[Evidence] | None = None
) -> Nearest:
    cosines = {
        term: np.asarray(scores, np.float32) * np.float32(0.9) ** place
        for place, term in enumerate(TERMS)
    }
    among = dict.fromkeys(SEEN, np.full((len(scores),) * 2, 0.3, np.float32))
    found = evidence or [NONE] * len(scores)
    return Nearest(np.asarray(scores, np.float32), list(products), cosines, among, found, 40)


def told(near: Nearest) -> dict[str, float]:
    return dict(zip(FEATURES, open_set_features(near).tolist(), strict=True))


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


def test_the_best_products_print_is_compared_with_that_of_the_others() -> None:
    some = [
        Evidence(9, 4, 0.2, 1.5, 0.01),
        Evidence(20, 3, 0.1, None, None),
        Evidence(15, 7, 0.3, 2.5, 0.02),
    ]
    found = told(nearest([0.9, 0.8, 0.7], "aba", some))
    assert found["keypoints"] == pytest.approx(np.log(41))
    assert found["inliers"] == pytest.approx(np.log(16))
    assert found["inliers_any"] == pytest.approx(np.log(21))
    assert found["inliers_lead"] == pytest.approx(np.log(16) - np.log(21))
    assert found["inliers_all"] == pytest.approx(np.log(25))
    assert (found["share"], found["like"]) == (0.3, pytest.approx(np.log(8)))
    assert (found["spread"], found["skew"]) == (2.5, 0.02)


def test_too_few_inliers_count_as_those_of_strangers() -> None:
    found = told(nearest([0.9, 0.8], "ab"))
    assert (found["spread"], found["skew"]) == (SPREAD, SKEW)
    assert found["inliers"] == found["share"] == 0


STEP = {"sign": (0, -1, -1), "limit": (0.5, 0, 0), "left": (1, -1, -1), "right": (2, -1, -1)}


def test_trees_correct_the_weighted_signs() -> None:
    tree = Tree(**STEP, value=(0, -2, 3))
    for score, step in ((0.5, -2), (0.51, 3)):
        values = np.zeros(len(FEATURES))
        values[0] = score
        plain, corrected = (probability(values, WEIGHTS, trees) for trees in ((), (tree, tree)))
        odds = np.log(corrected / (1 - corrected)) - np.log(plain / (1 - plain))
        assert odds == pytest.approx(2 * step)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": (0, 1)},
        {"left": (0, -1, -1)},
        {"right": (3, -1, -1)},
        {"sign": (len(FEATURES), -1, -1)},
        {"sign": (), "limit": (), "left": (), "right": (), "value": ()},
    ],
)
def test_a_tree_that_leads_nowhere_is_refused(changes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"expected|at least"):
        Tree(**{**STEP, "value": (0, 1, 2), **changes})


@given(st.lists(COSINES, min_size=1, max_size=20), st.data())
def test_features_are_finite_numbers_of_any_neighbourhood(
    scores: list[float], data: st.DataObject
) -> None:
    ordered = sorted(scores, reverse=True)
    products = data.draw(st.text("abcd", min_size=len(ordered), max_size=len(ordered)))
    values = open_set_features(nearest(ordered, products))
    assert values.shape == (len(FEATURES),)
    assert np.isfinite(values).all()


@given(
    st.lists(COSINES, min_size=len(FEATURES), max_size=len(FEATURES)),
    st.sampled_from(["score", "lead"]),
    st.floats(0.01, 1),
)
def test_more_of_a_feature_that_counts_is_more_likely_known(
    values: list[float], feature: str, more: float
) -> None:
    raised = [
        value + more * (name == feature) for name, value in zip(FEATURES, values, strict=True)
    ]
    before, after = (probability(np.asarray(row), WEIGHTS) for row in (values, raised))
    assert 0 <= before < after <= 1
