"""Titles as words: TF-IDF of character n-grams, hashed into a vector of fixed length.

Learned title heads know what training taught them; these vectors know every spelling. The inner
product of two of them estimates the cosine of the titles' TF-IDF vectors with an error of about
`1 / sqrt(D)` (feature hashing: Weinberger et al., ICML 2009; several places for each feature: Kane
and Nelson, JACM 2014), so that a dense index finds words that no training saw.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from unbundle.ranking.embedding_parts import Vectors, unit

BUCKETS = 1 << 18
"""Of document frequencies. N-grams that share one have the frequency of both."""

_PLACES = 4  # of an n-gram in the vector
_SPACED, _UNSPACED = (3, 4, 5), (1, 2)  # lengths of n-grams
# Scripts whose words are not set apart, or not enough: those of Lucene's CJK analyzer, and Thai,
# Lao, Burmese and Khmer.
_UNSPACED_SCRIPTS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
)
# Python counts the vowel signs of Indian scripts as no letters.
_WORD = rf"(?:[^\W\d_{_UNSPACED_SCRIPTS}]|[\u0900-\u0dff])+"
_RUN = re.compile(rf"\d+|[{_UNSPACED_SCRIPTS}]+|{_WORD}")
_UNSPACED_START = re.compile(f"[{_UNSPACED_SCRIPTS}]")
# Accents, and the points of Hebrew and Arabic, which most titles leave out.
_MARKS = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u064b-\u065f]")
# A letter with what is written after it and belongs to it: accents, voice marks, parts of Hangul.
_CLUSTER = re.compile(
    r"(?s:.)[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u1160-\u11ff\u3099\u309a\uff9e\uff9f]*"
)
# Titles whose n-grams are kept for the second look at them, a few MB in all.
_TITLES, _LONGEST_KEPT = 256, 300


@dataclass(frozen=True)
class _Features:
    """The n-grams of a title, G of them, one that repeats as often as it stands there."""

    bucket: NDArray[np.int64]
    """`[G]`."""
    place: NDArray[np.uint64]
    """`[G, _PLACES]`: hashes, modulo the vector's length a place."""
    sign: NDArray[np.float32]
    """`[G, _PLACES]`: 1 or -1."""
    span: NDArray[np.int64]
    """`[G, 2]`: first and one past the last character of the title that it covers."""


class HashedTfidf:
    """TF-IDF vectors `[D]` of titles; equal titles have equal vectors in every process.

    Args:
        idf: inverse document frequencies `[BUCKETS]`, see `inverse_document_frequencies`.
        dimension: D.
    """

    def __init__(self, idf: NDArray[np.floating], dimension: int) -> None:
        self.idf = idf.astype(np.float32)
        self.dimension = dimension

    def encode(self, titles: Sequence[str]) -> Vectors:
        """Unit rows `[N, D]`; a title without a letter or digit is a row of zeros."""
        distinct = {title: row for row, title in enumerate(dict.fromkeys(titles))}
        rows = [self._rows(title, np.ones((1, len(title)), np.float32)) for title in distinct]
        found = np.concatenate([np.zeros((0, self.dimension), np.float32), *rows])
        return found[[distinct[title] for title in titles]]

    def encode_shares(self, title: str, shares: NDArray[np.float32]) -> Vectors:
        """One title as several instances have it, unit rows `[N, D]`.

        Args:
            title: of the query.
            shares: `[N, len(title)]`, how much each character counts for each instance, 0 to 1; an
                n-gram counts as the mean of its characters.
        """
        return self._rows(title, shares)

    def _rows(self, title: str, shares: NDArray[np.float32]) -> Vectors:
        found = _features(title)
        rows = np.zeros((len(shares), self.dimension), np.float32)
        if not len(found.bucket):
            return rows
        places = (found.place % np.uint64(self.dimension)).astype(np.int64)
        values = found.sign * self.idf[found.bucket, None]
        sums = np.concatenate([np.zeros((len(shares), 1), np.float32), shares.cumsum(axis=1)], 1)
        first, last = found.span.T
        means = (sums[:, last] - sums[:, first]) / (last - first)
        for row, mean in zip(rows, means, strict=True):
            weighted = (values * mean[:, None]).ravel()
            row += np.bincount(places.ravel(), weighted, self.dimension).astype(np.float32)
        return unit(rows)


def inverse_document_frequencies(titles: Iterable[str]) -> NDArray[np.float16]:
    """`log((1 + n) / (1 + df)) + 1` by bucket, `[BUCKETS]`, of n titles; blank ones do not count.

    What no title holds has the largest: a new product is found by its new words.
    """
    counts = np.zeros(BUCKETS, np.int64)
    total = 0
    for title in titles:
        buckets = np.unique(_features(title).bucket)
        counts[buckets] += 1
        total += bool(len(buckets))
    return (np.log((1 + total) / (1 + counts)) + 1).astype(np.float16)


@dataclass(frozen=True)
class TitleWords:
    """The words of a title, spelt as for `HashedTfidf`; `TitleWords.of` makes it."""

    text: str
    runs: frozenset[str]

    @classmethod
    def of(cls, title: str) -> "TitleWords":
        """The words of any text."""
        text, _ = _folded(title)
        return cls(text, frozenset(run.group() for run in _RUN.finditer(text)))

    def hold(self, other: "TitleWords") -> bool:
        """Whether all words of another text stand in this one."""
        return all(
            run in (self.text if _UNSPACED_START.match(run) else self.runs) for run in other.runs
        )


def _features(title: str) -> _Features:
    # What a client sends may be long, and is not kept for ever.
    return _kept(title) if len(title) <= _LONGEST_KEPT else _computed(title)


@lru_cache(_TITLES)
def _kept(title: str) -> _Features:
    return _computed(title)


def _computed(title: str) -> _Features:
    grams = list(_ngrams(title))
    codes = np.asarray([zlib.crc32(text.encode()) for text, _, _ in grams], np.uint64)
    places = _mixed(codes[:, None] + (np.arange(1, _PLACES + 1, dtype=np.uint64) << np.uint64(32)))
    return _Features(
        (codes % np.uint64(BUCKETS)).astype(np.int64),
        places >> np.uint64(1),
        np.where(places & np.uint64(1), np.float32(1), np.float32(-1)),
        np.asarray([span for _, *span in grams], np.int64).reshape(-1, 2),
    )


def _ngrams(title: str) -> Iterator[tuple[str, int, int]]:
    """N-grams within words, with the characters of the title that each covers.

    Case, accents and widths of letters do not count; numbers are words of their own.
    """
    text, origin = _folded(title)
    for run in _RUN.finditer(text):
        word, start = run.group(), run.start()
        unspaced = _UNSPACED_START.match(word)
        # The blanks tell a word's start and end from the same letters within another one.
        padded, margin = (word, 0) if unspaced else (f" {word} ", 1)
        for length in _UNSPACED if unspaced else _SPACED:
            for place in range(len(padded) - length + 1):
                first = max(start + place - margin, start)
                last = min(start + place - margin + length, run.end()) - 1
                yield padded[place : place + length], origin[first], origin[last] + 1


def _folded(title: str) -> tuple[str, Sequence[int]]:
    """A title without case, accents and widths, and the place in it that each letter comes from."""
    if title.isascii():
        return title.casefold(), range(len(title))
    letters: list[str] = []
    origin: list[int] = []
    for cluster in _CLUSTER.finditer(title):
        whole = cluster.group()
        # "Lego™" is no word "legotm".
        bare = (
            " " if unicodedata.category(whole[0]) == "So" else unicodedata.normalize("NFKD", whole)
        )
        for letter in unicodedata.normalize("NFC", _MARKS.sub("", bare)).casefold():
            letters.append(letter)
            origin.append(cluster.start())
    return "".join(letters), origin


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): each bit depends on all."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
