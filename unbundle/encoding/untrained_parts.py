"""The parts of the embedding that no network of ours learns: frozen feature, colours, words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unbundle.encoding.hashed_tfidf import HashedTfidf
from unbundle.ranking.embedding_parts import Vectors, unit

AXES = "axes.npy"
"""Of the frozen feature, in a bundle's folder."""

IDF = "idf.npy"
"""Of the titles' words, in a bundle's folder."""

_SMALLEST = 1e-6  # variance of an axis over the largest


@dataclass(frozen=True)
class UntrainedParts:
    """What a catalogue's own photos and titles say of the raw feature and of words."""

    axes: NDArray[np.float32]
    """`[C, d]`: from the feature map's C channels to the part `raw`."""
    tfidf: HashedTfidf

    @classmethod
    def open(cls, folder: Path, lexical: int) -> Self:
        """Of a bundle's folder; a title becomes `lexical` numbers."""
        axes = np.load(folder / AXES, allow_pickle=False).astype(np.float32)
        return cls(axes, HashedTfidf(np.load(folder / IDF, allow_pickle=False), lexical))

    def save(self, folder: Path) -> None:
        """Write `AXES` and `IDF` into a bundle's folder, in half precision."""
        np.save(folder / AXES, self.axes.astype(np.float16), allow_pickle=False)
        np.save(folder / IDF, self.tfidf.idf.astype(np.float16), allow_pickle=False)

    def seen(self, pooled: Vectors) -> dict[str, Vectors]:
        """The parts `raw` and `colour`, unit rows, of pooled tokens.

        Args:
            pooled: `[N, D]`: the first token of each instance, C channels and then the colours.
        """
        channels = len(self.axes)
        raw = unit(unit(pooled[:, :channels]) @ self.axes)
        return {"raw": raw, "colour": unit(pooled[:, channels:])}


def principal_axes(features: Vectors, count: int) -> NDArray[np.float16]:
    """Principal axes of frozen features, half whitened, `[C, d]`, d at most `count`.

    Whitening keeps what all photos share, such as lit packs on white, from outweighing what tells
    them apart (Jégou and Chum, ECCV 2012); all of it would make noise of the last axes as loud as
    the first. Half of it, an axis divided by the fourth root of its variance, lies between.

    Args:
        features: `[N, C]`, of the catalogue's own photos.
        count: axes that are kept; fewer where the features span fewer.
    """
    rows = unit(features)
    variances, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows / max(len(rows), 1))
    order = np.argsort(-variances, kind="stable")[:count]
    # What is no larger than the rounding of the tokens' half precision is none of the photos'.
    order = order[variances[order] > _SMALLEST * max(variances[order[0]], 1e-12)]
    return np.asarray(axes[:, order] * variances[order] ** -0.25, np.float16)
