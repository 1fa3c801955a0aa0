"""What pseudo-bundles are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.synthesis.cutouts import Cutout
from tasks.synthesis.products_to_paste import Sprite
from unbundle.vision.imaging import Photo

Pixels = NDArray[np.float32]
"""RGB `[height, width, 3]`, 0 to 255, while a picture is composed."""

Box = tuple[float, float, float, float]

MIN_VISIBLE = 0.35
"""Share of a product that is left to see; what shows less is not searched for and has no box."""


@dataclass(frozen=True)
class Material:
    """What pseudo-bundles are made of.

    Attributes:
        cutouts: photos whose product is known.
        sprites: the products to paste: of the cut-outs, or drawn.
        drawn: made-up sprites.
        photos: catalogue photos whose product is not known: as tiles they are products.
        rooms: any catalogue photos, for backgrounds.
    """

    cutouts: Sequence[Cutout]
    sprites: Sequence[Sprite]
    drawn: Sequence[Sprite]
    photos: Sequence[Photo]
    rooms: Sequence[Photo]
