"""What the export stage fits on labelled queries, on arrays small enough to be seen through."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasks.base.params import Params
from tasks.calibration.fit import fit_verification, fitted_queries, junk_pairs
from tasks.calibration.fit_embedding_weights import AnswerKey, DevQuery, quality
from tasks.calibration.fit_rank_fusion import fit_fusion, fused, nearest_items
from tasks.calibration.keypoint_matches import StoredReranker
from tasks.data.splits import is_fitted
from unbundle.ranking.fusion import CROWD, EVIDENCE
from unbundle.vision.geometric_verification import NONE, Evidence

PRODUCTS = 12
ANSWERS = AnswerKey.of(
    [f"g{row}" for row in range(3 * PRODUCTS)], [f"p{row // 3}" for row in range(3 * PRODUCTS)]
)


def _queries() -> list[DevQuery]:
    """Queries of two products; the first instance shows one of them, the second shows neither."""
    shown = [frozenset([f"p{row}", f"p{(row + 1) % PRODUCTS}"]) for row in range(PRODUCTS)]
    return [DevQuery(labels, np.arange(2 * row, 2 * row + 2)) for row, labels in enumerate(shown)]


def _cosines(seed: int = 0) -> np.ndarray:
    """The first instance is near all photos of its product, the second a little near to some."""
    cosines = np.random.default_rng(seed).uniform(0.0, 0.3, (2 * PRODUCTS, 3 * PRODUCTS))
    for row in range(PRODUCTS):
        cosines[2 * row, 3 * row : 3 * row + 3] = (0.9, 0.85, 0.8)
    return cosines.astype(np.float32)


def test_fusion_ranks_what_a_box_has_found_before_what_another_guesses() -> None:
    queries, cosines = _queries(), _cosines()
    weights = fit_fusion(queries, cosines, ANSWERS, [0.0, 1.0])
    assert weights is not None
    assert tuple(weights) == (*EVIDENCE, CROWD)
    assert weights["score"] > 0
    found = [[nearest_items(row, cosines) for row in query.rows] for query in queries]
    first = fused(found[4], ANSWERS, weights)[:3]
    assert first == ["g12", "g13", "g14"]
    plain, better = (
        quality(queries, [fused(hits, ANSWERS, chosen) for hits in found], ANSWERS)
        for chosen in (None, weights)
    )
    assert better > plain


@pytest.mark.parametrize("shown", ["everything", "nothing"])
def test_fusion_learns_nothing_where_all_hits_are_alike(shown: str) -> None:
    labels = frozenset(ANSWERS.labels) if shown == "everything" else frozenset(["elsewhere"])
    queries = [DevQuery(labels, np.asarray([0, 1]))]
    assert fit_fusion(queries, _cosines(), ANSWERS, [0.0]) is None


def test_the_nearest_items_come_in_order_and_equals_by_their_place() -> None:
    items, scores = nearest_items(0, np.asarray([[0.5, 0.9, 0.5, 0.1]], np.float32))
    assert items.tolist() == [1, 0, 2, 3]
    assert scores.tolist() == pytest.approx([0.9, 0.5, 0.5, 0.1])


def test_what_a_query_was_made_of_is_neither_found_nor_missed() -> None:
    queries = [
        DevQuery(frozenset(["p0"]), np.asarray([0, 1]), frozenset(["g1"])),
        DevQuery(frozenset(["p1"]), np.asarray([2])),
    ]
    pairs = junk_pairs(queries, ANSWERS, 3)
    assert np.argwhere(pairs).tolist() == [[0, 1], [1, 1]]
    assert quality(queries, [["g0", "g2"], ["g3", "g4", "g5"]], ANSWERS) == 1.0


def _reranker(right: int) -> StoredReranker:
    """Finds inliers between an instance and the photos of the product it shows, if `right`."""

    def compare(instance: int, items: Sequence[int]) -> list[Evidence]:
        shows = instance // 2
        return [
            replace(NONE, inliers=60 if (item // 3 == shows) == bool(right) else 0)
            for item in items
        ]

    return StoredReranker(compare, [60] * (2 * PRODUCTS), 0.0, 2 * PRODUCTS)


@pytest.mark.parametrize(("right", "weight"), [(1, 0.2), (0, 0.0)])
def test_inliers_weigh_where_they_tell_the_product(
    right: int, weight: float, tiny_params: Params
) -> None:
    # By cosines alone each product lies behind the one after it.
    cosines = np.random.default_rng(1).uniform(0.0, 0.1, (2 * PRODUCTS, 3 * PRODUCTS))
    queries = []
    for row in range(PRODUCTS):
        cosines[2 * row, 3 * row : 3 * row + 3] = 0.5
        other = 3 * ((row + 1) % PRODUCTS)
        cosines[2 * row, other : other + 3] = 0.6 if right else 0.4
        queries.append(DevQuery(frozenset([f"p{row}"]), np.asarray([2 * row])))
    params = tiny_params.export.model_copy(update={"verification": (0.0, 0.2), "spreads": (0.0,)})
    scores = cosines.astype(np.float32)
    found, _ = fit_verification(queries, scores, ANSWERS, _reranker(right), params)
    assert found.weight == weight


def test_half_of_the_dev_queries_is_fitted_where_no_test_query_is_labelled() -> None:
    rows = [("dev", f"q{number}") for number in range(40)] + [("test", "t0")]
    manifest = pd.DataFrame(rows, columns=["split", "id"]).assign(labels=[["a"]] * 40 + [[]])
    fitted = fitted_queries(manifest)["id"].tolist()
    assert fitted == [f"q{number}" for number in range(40) if is_fitted(f"q{number}")]
    assert 10 < len(fitted) < 30
    manifest.loc[40, "labels"] = ["a"]
    assert len(fitted_queries(manifest)) == 40
