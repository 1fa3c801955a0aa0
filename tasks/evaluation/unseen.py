"""Products kept out of training, to see what a network makes of things that it never saw.

Training rows have no labels: a row goes when its title holds most of a held-out product's gallery
title. Rows that name a sister of it may go as well, which makes the test no easier.
"""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HOLDS = 0.6
"""Share of a gallery title's n-grams, weighed by rarity, that a title must hold to name it."""


def is_unseen(label: str, share: float) -> bool:
    """Whether a product is kept out; about `share` of all labels are, the same on every machine."""
    number = int.from_bytes(hashlib.sha256(label.encode("utf-8")).digest()[:4], "big")
    return number < share * 2**32


def naming_unseen(manifest: pd.DataFrame, share: float) -> NDArray[np.bool_]:
    """Which training rows `[N]` of the manifest name a product that is kept out.

    Args:
        manifest: the catalogue's clean rows; only rows of split train can be named.
        share: of the gallery's labels.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = (manifest["split"] == "train").to_numpy()
    gallery = manifest[(manifest["split"] == "gallery") & (manifest["caption"].str.strip() != "")]
    kept_out = gallery["labels"].map(lambda row: len(row) > 0 and is_unseen(row[0], share))
    named = np.zeros(len(manifest), bool)
    if not kept_out.any() or not train.any():
        return named
    rarity = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), binary=True, norm=None)
    titles = rarity.fit_transform(manifest.loc[train, "caption"])
    wanted = rarity.transform(gallery.loc[kept_out, "caption"])
    # TF-IDF without a norm: a title's n-grams are its row's non-zeros.
    shared = (titles > 0).astype(np.float32) @ wanted.T
    whole = np.asarray(wanted.sum(axis=1))[:, 0]
    held = shared.toarray() / np.maximum(whole, 1e-6)
    named[np.flatnonzero(train)] = held.max(axis=1) >= HOLDS
    return named
