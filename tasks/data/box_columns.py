"""The columns that hold boxes in a table of proposals and in the index of stored tokens."""

import numpy as np
import pandas as pd

from unbundle.vision.boxes import Boxes

CORNERS = ("x0", "y0", "x1", "y1")
"""In pixels of the upright photo."""


def boxes_of(rows: pd.DataFrame) -> Boxes:
    """The boxes float32 `[N, 4]` of a table's rows, in their order."""
    return rows[list(CORNERS)].to_numpy(np.float32)
