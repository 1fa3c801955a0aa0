"""Pictures with texture in which SIFT finds keypoints."""

import cv2
import numpy as np
from numpy.typing import NDArray

from unbundle.vision.keypoints import ROOTSIFT, KeypointSettings

Photo = NDArray[np.uint8]

SETTINGS = KeypointSettings(
    image_size=224,
    count=200,
    contrast=0.02,
    edge=20,
    ratio=0.85,
    tolerance=5,
    like=6,
    photos=40,
    dimension=ROOTSIFT,
)


def printed(seed: int, width: int = 120, height: int = 180) -> Photo:
    """Shapes of many colours on a plain ground; another seed is another texture."""
    rng = np.random.default_rng(seed)
    photo = np.full((height, width, 3), 235, np.uint8)
    for _ in range(60):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        colour = rng.integers(0, 220, 3).tolist()
        if rng.random() < 0.5:
            cv2.circle(photo, (x, y), int(rng.integers(3, 10)), colour, cv2.FILLED, cv2.LINE_AA)
        else:
            corner = (x + int(rng.integers(4, 16)), y + int(rng.integers(4, 16)))
            cv2.rectangle(photo, (x, y), corner, colour, cv2.FILLED)
    return photo


def turned(photo: Photo, degrees: float, scale: float, stretch: float = 1.0) -> Photo:
    """The photo turned, scaled and stretched upward, on a wider ground."""
    height, width = photo.shape[:2]
    side = round(1.5 * max(height, width) * max(scale * stretch, scale))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    matrix = np.vstack([matrix, [0, 0, 1]])
    shift = np.asarray([[1, 0, side / 2 - width / 2], [0, 1, side / 2 - height / 2], [0, 0, 1]])
    longer = np.asarray([[1, 0, 0], [0, stretch, side / 2 * (1 - stretch)], [0, 0, 1]])
    placed = (longer @ shift @ matrix)[:2]
    ground = (120, 130, 125)
    return np.asarray(cv2.warpAffine(photo, placed, (side, side), borderValue=ground), np.uint8)
