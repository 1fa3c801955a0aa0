"""Titles as words: what is one word, what is rare, and what the hashed vectors estimate."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from unbundle.encoding.hashed_tfidf import HashedTfidf, TitleWords, inverse_document_frequencies

TITLES = [
    "Petravia day cream 50 ml",
    "Petravia night cream 50 ml",
    "Nordlys lip balm cherry",
    "Nordlys lip balm mint",
    "韩国ahc黄金套盒 面霜",
    "ahc 蜗牛原液精华液",
]
NOISE = 5 / math.sqrt(4096)  # five standard deviations of an estimated cosine


@pytest.fixture(scope="module")
def tfidf() -> HashedTfidf:
    return HashedTfidf(inverse_document_frequencies(TITLES), 4096)


def similarity(tfidf: HashedTfidf, one: str, other: str) -> float:
    first, second = tfidf.encode([one, other])
    return float(first @ second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Crème BRÛLÉE", "creme brulee"),
        ("Cre\u0300me", "crème"),
        ("ＡＨＣ面霜", "ahc 面霜"),
        ("50ml", "50 ML"),
        ("Weißwurst", "weisswurst"),
        ("lip-balm, mint!", "lip balm mint"),
        ("İstanbul", "istanbul"),
        ("한국 크림", "\u1112\u1161\u11ab\u1100\u116e\u11a8 크림"),
        ("ﾊﾟﾝ", "パン"),
        ("か\u3099", "が"),
        ("Lego™ set", "lego set"),
    ],
)
def test_spelling_that_tells_nothing_does_not_count(
    tfidf: HashedTfidf, one: str, other: str
) -> None:
    assert similarity(tfidf, one, other) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("title", "near", "far"),
    [
        ("night cream", TITLES[1], TITLES[0]),  # the rare word decides
        ("nordlis chery", TITLES[2], TITLES[3]),  # misspelt
        ("黄金面霜", TITLES[4], TITLES[5]),  # no blanks between words
        ("がぎ", "が", "か"),  # a mark that is no accent
        ("क्रीम नाइट", "क्रीम", "नमक"),  # vowel signs belong to words
        ("zebra", "zebra oil", "petravia oil"),  # a word of no title
    ],
)
def test_a_title_is_nearest_to_what_shares_its_words(
    tfidf: HashedTfidf, title: str, near: str, far: str
) -> None:
    assert similarity(tfidf, title, near) > similarity(tfidf, title, far) + 0.05


@pytest.mark.parametrize("title", ["", "  ", "—!?", "…"])
def test_a_title_without_words_is_zero(tfidf: HashedTfidf, title: str) -> None:
    assert not tfidf.encode([title, "cream"])[0].any()
    assert tfidf.encode([]).shape == (0, 4096)


@pytest.mark.parametrize(
    ("title", "word", "held"),
    [
        ("Nordlys Lip Balm", "BALM", True),
        ("Nordlys Lip Balm", "lip", True),
        ("Nordlys Lip Balm", "al", False),
        ("Lego™ Set", "lego", True),
        ("ahc 黄金面霜", "面霜", True),
        ("ahc 黄金面霜", "眼霜", False),
        ("", "red", False),
    ],
)
def test_a_title_holds_whole_words(title: str, word: str, held: bool) -> None:
    assert TitleWords.of(title).hold(TitleWords.of(word)) is held


def test_cosines_are_those_of_tfidf(tfidf: HashedTfidf) -> None:
    spaced = TITLES[:4]
    exact = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit(TITLES).transform(spaced)
    estimated = tfidf.encode(spaced)
    np.testing.assert_allclose(estimated @ estimated.T, (exact @ exact.T).toarray(), atol=NOISE)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.integers(8, 64))
def test_any_text_is_a_unit_row_or_zero(titles: list[str], dimension: int) -> None:
    tfidf = HashedTfidf(inverse_document_frequencies(titles), dimension)
    rows = tfidf.encode(titles)
    assert rows.shape == (len(titles), dimension)
    assert rows.dtype == np.float32
    lengths = np.linalg.norm(rows, axis=1)
    assert np.all(np.isclose(lengths, 1, atol=1e-5) | (lengths == 0))
    again = np.concatenate([tfidf.encode([title]) for title in titles])
    np.testing.assert_array_equal(rows, again)


def test_an_instance_counts_the_words_that_are_its_own(tfidf: HashedTfidf) -> None:
    title = "night cream lip balm"
    cream, whole = np.zeros((2, len(title)), np.float32)
    cream[: title.index("lip")], whole[:] = 1, 1
    own, all_of_it, none = tfidf.encode_shares(title, np.stack([cream, whole, 0 * whole]))
    gallery = tfidf.encode([TITLES[1], TITLES[3]])
    assert own @ gallery[0] > own @ gallery[1] + 0.2
    np.testing.assert_allclose(own, tfidf.encode(["night cream"])[0], atol=1e-6)
    np.testing.assert_allclose(all_of_it, tfidf.encode([title])[0], atol=1e-6)
    assert not none.any()
