"""Products kept out of training, to see what a network makes of things that it never saw.

Training rows have no labels: a row goes when its title holds most of a held-out product's gallery
title. Rows that name a variant of it may go as well, which makes the test no easier.
"""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.data.splits import labelled, product_of, rows_of

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

    train, gallery = rows_of(manifest, "train"), labelled(manifest, "gallery")
    is_kept_out = gallery["labels"].map(lambda labels: is_unseen(product_of(labels), share))
    kept_out = gallery[is_kept_out & (gallery["caption"].str.strip() != "")]
    named = pd.Series(False, index=manifest.index)
    if kept_out.empty or train.empty:
        return named.to_numpy()
    rarity = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), binary=True, norm=None)
    titles = rarity.fit_transform(train["caption"])
    wanted = rarity.transform(kept_out["caption"])
    # TF-IDF without a norm: a title's n-grams are its row's non-zeros.
    shared = (titles > 0).astype(np.float32) @ wanted.T
    whole = np.asarray(wanted.sum(axis=1))[:, 0]
    held = shared.toarray() / np.maximum(whole, 1e-6)
    named[train.index] = held.max(axis=1) >= HOLDS
    return named.to_numpy()
