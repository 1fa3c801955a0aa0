"""Plain figures of photos and titles, as records and drift profiles keep them."""

import unicodedata

import numpy as np
from numpy.typing import NDArray


def brightness(luma: NDArray[np.uint8]) -> float:
    """Mean of a photo's luma `[h, w]`, 0 (black) to 1 (white)."""
    return round(float(luma.mean()) / 255, 4)


def script(title: str) -> str:
    """What most of a title's letters belong to: `han`, `latin`, `other`, or `none` without any.

    A stand-in for its language: shop titles are too short and too full of brand names for a
    language detector, and another script is what the tokenizer trips over.
    """
    counts = {"han": 0, "latin": 0, "other": 0}
    for letter in title:
        if letter.isalpha():
            name = unicodedata.name(letter, "")
            kind = "han" if name.startswith("CJK") else "latin" if "LATIN" in name else "other"
            counts[kind] += 1
    best = max(counts, key=lambda kind: counts[kind])
    return best if counts[best] else "none"
