"""What the frozen feature and the titles' words need to know of a catalogue; no label is read."""

import numpy as np
import pandas as pd

from tasks.data.splits import rows_of, spread
from tasks.tokens.token_files import FeatureStore
from unbundle.encoding.hashed_tfidf import HashedTfidf, inverse_document_frequencies
from unbundle.encoding.untrained_parts import UntrainedParts, principal_axes

RAW_AXES = 256
"""Of the frozen feature: alone on groceries .206 mAP@10 where all its 1,280 numbers give .183, and
512 axes .205."""

PHOTOS = 4096
"""That the axes are fitted on, at most, evenly spread: 16 of each axis."""


def fit_untrained_parts(
    store: FeatureStore, manifest: pd.DataFrame, dimension: int
) -> UntrainedParts:
    """Fit axes and document frequencies on the rows of train and gallery.

    Args:
        store: with their proposals, of which each photo's best counts.
        manifest: of the catalogue.
        dimension: numbers that a title's words become.
    """
    own = rows_of(manifest, "train", "gallery")
    places = store.rows_by_id()
    chosen = [places[own["id"].iloc[row]][0] for row in spread(len(own), PHOTOS)]
    pooled = store.tokens(chosen)[:, 0, : store.channels].astype(np.float32)
    axes = principal_axes(pooled, RAW_AXES).astype(np.float32)
    return UntrainedParts(
        axes, HashedTfidf(inverse_document_frequencies(own["caption"]), dimension)
    )
