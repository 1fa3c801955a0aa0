"""Rankings that CAPTURE has to beat, made from what it reads: boxes, raw features, titles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unbundle.ranking.embedding_parts import Vectors
from unbundle.ranking.fusion import interleave

Scores = NDArray[np.float32]

BASELINES = ("image", "title", "late fusion", "late fusion per instance")


@dataclass(frozen=True)
class BaselineGallery:
    """The gallery as the baselines see it.

    Attributes:
        ids: of the items.
        raw: unit rows `[G, d]` of the frozen backbone, the same that CAPTURE reads.
        captions: titles, may be empty.
    """

    ids: Sequence[str]
    raw: Vectors
    captions: Sequence[str]


class TitleIndex:
    """TF-IDF over 2- to 4-grams of characters within words; a Chinese title is one long word.

    Args:
        captions: of the gallery, in its order.
        corpus: further titles of the catalogue, which tell shop noise from names.
    """

    def __init__(self, captions: Sequence[str], corpus: Sequence[str] = ()) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))
        # Where all titles are empty there is no vocabulary.
        self._known = any(caption.strip() for caption in captions)
        self._size = len(captions)
        if self._known:
            self._vectorizer.fit([*captions, *corpus])
            self._gallery = self._vectorizer.transform(captions)

    def scores(self, caption: str) -> Scores:
        """Cosines `[G]` of one title with the gallery's; 0 without a common n-gram."""
        if not self._known:
            return np.zeros(self._size, np.float32)
        query = self._vectorizer.transform([caption])
        return np.asarray((self._gallery @ query.T).toarray()[:, 0], np.float32)


class BM25:
    """Okapi BM25 (Robertson and Zaragoza 2009, eq. 3.15) over the n-grams of `TitleIndex`.

    Args:
        captions: of the gallery, in its order.
        k1: saturation of repeated n-grams.
        b: how much a long title is discounted.
    """

    def __init__(self, captions: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self._vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(2, 4))
        counts = self._vectorizer.fit_transform(captions).tocsr().astype(np.float32)
        lengths = np.asarray(counts.sum(axis=1))[:, 0]
        found = np.asarray((counts > 0).sum(axis=0))[0]
        idf = np.log1p((len(lengths) - found + 0.5) / (found + 0.5))
        norm = k1 * (1 - b + b * lengths / lengths.mean())
        rows = np.repeat(np.arange(len(lengths)), np.diff(counts.indptr))
        saturated = counts.data * (k1 + 1) / (counts.data + norm[rows])
        counts.data = (saturated * idf[counts.indices]).astype(np.float32)
        self._weights = counts

    def scores(self, caption: str) -> Scores:
        """Scores `[G]` of one title; 0 without a common n-gram."""
        query = self._vectorizer.transform([caption])
        query.data = np.ones_like(query.data)
        return np.asarray((self._weights @ query.T.astype(np.float32)).toarray()[:, 0], np.float32)


def rank_baselines(
    raw: Vectors, titles: Scores, gallery: BaselineGallery, depth: int
) -> dict[str, list[str]]:
    """Rank the gallery for one query by each of `BASELINES`.

    Args:
        raw: unit rows `[N, d]` of the query's instances, best instance first.
        titles: the query's `TitleIndex.scores` `[G]`.
        gallery: the items.
        depth: length of the rankings.

    Returns:
        Gallery ids, best first. `image` interleaves the instances' rankings; `title` ranks what
        shares an n-gram; `late fusion` adds the z-scores of the best instance and of the title,
        `late fusion per instance` does so for every instance and interleaves.
    """
    images = raw @ gallery.raw.T

    def best(scores: Scores) -> list[str]:
        return [gallery.ids[row] for row in np.argsort(-scores, kind="stable")[:depth]]

    fused = [_z_scores(instance) + _z_scores(titles) for instance in images]
    return {
        "image": interleave([best(instance) for instance in images], depth),
        "title": best(titles)[: int((titles > 0).sum())],
        "late fusion": best(_z_scores(images.max(axis=0)) + _z_scores(titles)),
        "late fusion per instance": interleave([best(instance) for instance in fused], depth),
    }


def _z_scores(scores: Scores) -> Scores:
    spread = scores.std()
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)
