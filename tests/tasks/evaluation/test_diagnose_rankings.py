import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.baselines import BASELINES, BaselineGallery, TitleIndex, rank_baselines
from tasks.evaluation.diagnose_rankings import index_recall

IDS = ["a", "b", "c", "d"]
SCORES = np.asarray([0.9, 0.1, 0.8, 0.7], np.float32)


def test_recall_is_the_share_of_exact_hits() -> None:
    assert index_recall(["a", "c"], SCORES, IDS, 2) == 1
    assert index_recall(["a", "b", "c"], SCORES, IDS, 2) == 1 / 2
    assert index_recall([], SCORES, IDS, 2) == 0


def test_an_equal_score_is_as_good() -> None:
    tied = np.asarray([0.9, 0.5, 0.5, 0.1], np.float32)
    assert index_recall(["a", "c"], tied, IDS, 2) == index_recall(["a", "b"], tied, IDS, 2) == 1


def test_a_gallery_smaller_than_k_can_be_found_whole() -> None:
    assert index_recall(["d", "c", "b", "a"], SCORES, IDS, 10) == 1


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30), st.integers(1, 12))
def test_exact_search_recalls_itself(scores: list[float], k: int) -> None:
    values = np.asarray(scores, np.float32)
    ids = [f"g{number:02}" for number in range(len(scores))]
    best = [ids[place] for place in np.argsort(-values, kind="stable")[:k]]
    assert index_recall(best, values, ids, k) == 1


@pytest.fixture
def gallery() -> BaselineGallery:
    return BaselineGallery(
        ["a", "b", "c"], np.eye(3, dtype=np.float32), ["red cream", "blue jar", ""]
    )


def test_titles_are_compared_by_their_characters(gallery: BaselineGallery) -> None:
    scores = TitleIndex(gallery.captions).scores("CREAM")
    assert scores[0] > 0
    assert list(scores[1:]) == [0, 0]


def test_chinese_titles_have_no_spaces_and_are_compared_all_the_same() -> None:
    scores = TitleIndex(["兰蔻红色口红", "雅诗兰黛眼霜"]).scores("口红 正品")
    assert scores[0] > scores[1] == 0


def test_words_that_every_title_of_the_shop_has_count_less() -> None:
    captions, noise = ["cream sale", "sale serum"], ["sale jar", "sale tube", "sale stick"]
    plain, informed = (TitleIndex(captions, corpus).scores("cream sale") for corpus in ([], noise))
    assert informed[1] < plain[1]


@pytest.mark.parametrize("captions", [[], ["", " "]])
def test_a_gallery_without_titles_scores_zero(captions: list[str]) -> None:
    assert TitleIndex(captions).scores("红色面霜").tolist() == [0] * len(captions)


def test_baselines_rank_by_image_by_title_and_by_both(gallery: BaselineGallery) -> None:
    raw = np.asarray([[0, 0.8, 0.6], [0, 0, 1]], np.float32)
    titles = TitleIndex(gallery.captions).scores("red cream")
    found = rank_baselines(raw, titles, gallery, depth=10)
    assert tuple(found) == BASELINES
    assert found["image"] == ["b", "c", "a"]
    assert found["title"] == ["a"]
    # Images alone: c 1.0, b 0.8, a 0; the title speaks for a alone.
    assert set(found["late fusion"][:2]) == {"a", "c"}
    assert set(found["late fusion per instance"]) == {"a", "b", "c"}


def test_without_a_title_late_fusion_is_the_image(gallery: BaselineGallery) -> None:
    raw = np.asarray([[0.1, 0.9, 0.3]], np.float32)
    found = rank_baselines(raw, np.zeros(3, np.float32), gallery, depth=2)
    assert found["late fusion per instance"] == found["image"] == ["b", "c"]
    assert found["title"] == []
