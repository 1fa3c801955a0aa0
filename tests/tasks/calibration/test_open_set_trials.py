from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.calibration.fit_open_set_score import fit_open_set
from tasks.calibration.keypoint_matches import StoredReranker
from tasks.calibration.open_set_trials import Trials, measure, products, trials
from unbundle.ranking.embedding_parts import PARTS, TERMS
from unbundle.ranking.open_set_model import FEATURES
from unbundle.vision.geometric_verification import NONE, Evidence

LABELS = np.asarray(["soap", "soap", "tea", "jam"])


def test_a_proposal_shows_the_product_that_it_overlaps() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    proposals = np.asarray([[21, 0, 30, 10], [0, 0, 10, 9], [12, 0, 18, 10]], np.float32)
    assert products(proposals, ["soap", "tea"], boxes, 0.5) == ["tea", "soap", None]


def test_without_boxes_only_a_photo_of_one_product_tells() -> None:
    proposals = np.zeros((2, 4), np.float32)
    assert products(proposals, ["soap"], None, 0.5) == ["soap", None]
    assert products(proposals, ["soap", "tea"], None, 0.5) == [None, None]


def asked(scores: np.ndarray, shown: list[str | None]) -> Trials:
    """Trials whose cosines are the scores, by every term."""
    heads = {head: scores for head, _ in TERMS.values()}
    parts = dict.fromkeys(PARTS, np.eye(scores.shape[1], dtype=np.float32))
    return trials(scores, heads, parts, LABELS, shown, "both", reranker({}, len(scores)))


def reranker(
    inliers: dict[int, int], instances: int, weight: float = 0.0, photos: int = 4
) -> StoredReranker:
    """A reranker that finds so many inliers on some items."""

    def compare(_: int, items: Sequence[int]) -> list[Evidence]:
        return [replace(NONE, inliers=inliers.get(item, 0)) for item in items]

    return StoredReranker(compare, [9] * instances, weight, photos)


def test_every_instance_is_asked_with_and_without_its_product() -> None:
    scores = np.asarray([[0.9, 0.7, 0.5, 0.1], [0.1, 0.2, 0.3, 0.4]], np.float32)
    found = asked(scores, ["soap", None])
    assert found.known.tolist() == [True, False]
    assert found.modalities.tolist() == ["both", "both"]
    # The second soap is no other product; without soap, tea leads jam.
    np.testing.assert_allclose(found.features[:, :2], [[0.9, 0.4], [0.5, 0.4]], rtol=1e-6)
    nearest = found.features[:, FEATURES.index("nearest_raw")]
    np.testing.assert_allclose(nearest, [0.9, 0.5], rtol=1e-6)
    # The photos have nothing in common with one another.
    beyond = found.features[:, FEATURES.index("beyond_raw")]
    np.testing.assert_allclose(beyond, [(0.5 + 0.1) / 2, 0.1], rtol=1e-6)


def test_what_shows_the_very_print_comes_first_with_and_without_the_product() -> None:
    scores = np.asarray([[0.9, 0.7, 0.8, 0.1]], np.float32)
    heads = {head: scores for head, _ in TERMS.values()}
    parts = dict.fromkeys(PARTS, np.eye(4, dtype=np.float32))
    # Tea is verified; jam is, too, where there is no soap.
    seen = reranker({2: 10, 3: 300}, 1, weight=0.1, photos=3)
    found = trials(scores, heads, parts, LABELS, ["soap"], "both", seen)
    tea, jam = 0.8 + 0.1 * np.log(8), 0.1 + 0.1 * np.log(298)
    np.testing.assert_allclose(found.features[:, 0], [tea, tea], rtol=1e-6)
    np.testing.assert_allclose(found.features[:, 1], [tea - 0.9, tea - jam], rtol=1e-6)
    inliers = found.features[:, FEATURES.index("inliers")]
    np.testing.assert_allclose(inliers, np.log([11, 11]), rtol=1e-6)
    assert found.features[0, FEATURES.index("inliers_any")] == pytest.approx(np.log(11))


def test_a_product_that_the_gallery_lacks_anyway_tells_nothing() -> None:
    scores = np.ones((1, 4), np.float32)
    assert len(asked(scores, ["wine"]).known) == 0


def _separable(count: int, overlap: float) -> Trials:
    rng = np.random.default_rng(3)
    known = np.arange(count) % 2 == 0
    score = np.where(known, 0.8, 0.4) + rng.normal(0, overlap, count)
    features = np.stack([score, score / 2, *[np.full(count, 0.9)] * (len(FEATURES) - 2)], axis=1)
    return _both(features, known)


def _both(features: NDArray[np.float64], known: NDArray[np.bool_], each: int = 2) -> Trials:
    """Trials of photo and title, `each` in a row of one product."""
    count = len(known)
    products = np.asarray([f"product {place // each}" for place in range(count)])
    return Trials(features, known, np.full(count, "both"), products)


def test_the_threshold_keeps_the_wanted_rate_of_false_accepts() -> None:
    fitted = fit_open_set(_separable(400, 0.2), false_accepts=0.1)
    assert fitted is not None
    found = measure(_separable(400, 0.2), {"both": fitted})
    assert found is not None
    assert found["false_accepts"] == pytest.approx(0.1, abs=0.03)
    assert 0.85 < found["auroc"] < 1
    assert sum(row["trials"] for row in found["reliability"]) == 400
    for row in found["reliability"]:
        if row["trials"] >= 40:
            assert row["known"] == pytest.approx(row["probability"], abs=0.15)


def _noisy(count: int, seed: int) -> Trials:
    """Trials that one feature tells a little of, and the others nothing."""
    rng = np.random.default_rng(seed)
    known = np.arange(count) % 2 == 0
    features = rng.normal(size=(count, len(FEATURES)))
    features[:, 0] += known
    return _both(features, known)


def test_the_threshold_holds_for_strangers_that_the_fit_has_not_seen() -> None:
    rates = []
    for seed in range(8):
        fitted = fit_open_set(_noisy(320, seed), false_accepts=0.3)
        assert fitted is not None
        others = _noisy(1000, 100 + seed)
        found = measure(others, {"both": fitted})
        assert found is not None
        rates.append(found["false_accepts"])
    assert np.mean(rates) == pytest.approx(0.3, abs=0.02)


def test_the_threshold_holds_for_products_that_the_fit_has_not_seen() -> None:
    """Folds of trials instead of products let half of the strangers pass."""
    rates = []
    for seed in range(6):
        fitted = fit_open_set(_own_scores(320, seed), false_accepts=0.3)
        assert fitted is not None
        found = measure(_own_scores(3200, 100 + seed), {"both": fitted})
        assert found is not None
        rates.append(found["false_accepts"])
    assert 0.2 < np.mean(rates) < 0.36


def _own_scores(count: int, seed: int, each: int = 16) -> Trials:
    """Each product has scores of its own, and features that a model can know it by."""
    rng = np.random.default_rng(seed)
    known = np.arange(count) % 2 == 0
    features = np.zeros((count, len(FEATURES)))
    features[:, 1:7] = np.repeat(rng.uniform(size=(count // each, 6)), each, axis=0)
    usual = np.repeat(rng.normal(size=count // each), each)
    features[:, 0] = 2 * usual + 1.5 * known + rng.normal(0, 0.3, count)
    return _both(features, known, each)


def test_signs_count_together() -> None:
    """Features interact: skew tells something only where there are inliers."""
    rng = np.random.default_rng(4)
    known = np.arange(1200) % 2 == 0
    features = rng.normal(size=(1200, len(FEATURES)))
    features[:, 0] *= np.where(features[:, 1] > 0, 1, 6)
    features[:, 0] += np.where(known & (features[:, 1] > 0), 3, 0)
    fitted = fit_open_set(_both(features[:800], known[:800]), 0.3)
    assert fitted is not None
    rest = _both(features[800:], known[800:])
    together = measure(rest, {"both": fitted})
    alone = measure(rest, {"both": fitted.model_copy(update={"trees": ()})})
    assert together is not None
    assert alone is not None
    assert alone["auroc"] + 0.05 < together["auroc"]


def test_few_trials_are_calibrated_all_the_same() -> None:
    fitted = fit_open_set(_separable(4, 0.1), false_accepts=0.5)
    assert fitted is not None
    assert 0 < fitted.threshold < 1


def test_one_kind_of_trials_calibrates_nothing() -> None:
    found = _separable(10, 0.1)
    alone = _both(found.features, np.ones_like(found.known))
    assert fit_open_set(alone, 0.1) is None
    assert measure(alone, {}) is None


def test_trials_of_a_modality_without_calibration_do_not_count() -> None:
    fitted = fit_open_set(_separable(400, 0.2), false_accepts=0.1)
    assert fitted is not None
    titled = _separable(40, 0.2)
    photos = replace(titled, known=~titled.known, modalities=np.full(40, "photo"))
    known = {"both": fitted}
    both = measure(Trials.joined([titled, photos]), known)
    assert both == measure(titled, known)
