"""A query as the networks and the local features see it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unbundle.ranking.embedding_parts import Modality, Vectors
from unbundle.vision.boxes import Boxes
from unbundle.vision.keypoints import Keypoints


@dataclass(frozen=True)
class Word:
    """A word of a query's title.

    Attributes:
        text: as it stands in the title; what lies beyond the network's title length is no word.
        belongs: how likely it names each instance's product, `[N]`, 0 to 1.
    """

    text: str
    belongs: NDArray[np.float32]


@dataclass(frozen=True)
class EncodedQuery:
    """The instances of one query."""

    boxes: Boxes
    """`[N, 4]` in photo pixels; `[0, 4]` for a query without a photo, which is one instance."""
    scores: NDArray[np.float32]
    """`[N]`: the detector's, or 1 for given boxes and for a title alone."""
    heads: dict[str, Vectors]
    """Unit rows `[N, d]` by head: the parts and `read`; zeros where a modality is missing."""
    words: tuple[Word, ...]
    """The title's words, in its order; none without a photo."""
    vectors: Vectors
    """`[N, D]`, the query vectors."""
    modality: Modality
    """What the query has."""
    keypoints: list[Keypoints]
    """Of each instance; empty for a title alone."""
    unknown: float
    """Share of the title's pieces that the tokenizer does not know, 0 without a title."""
