"""Local features: keypoints of a product's photo, with descriptors and colours.

A network's pooled vector tells what kind of thing a photo shows; whether it is the very same
product is told by details. Keypoints are places that are found again on another photo of the same
packaging at another size and angle (SIFT, Lowe 2004), each with a descriptor (RootSIFT,
Arandjelović and Zisserman 2012, projected and rounded to bytes) and the mean chroma around it. A
gallery row holds those of its product as text.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from unbundle.vision.boxes import Boxes
from unbundle.vision.imaging import Photo

Projection = NDArray[np.float32]
"""From a RootSIFT descriptor to a shorter one, `[128, D]`, orthonormal columns."""

ROOTSIFT = 128
"""Numbers in a descriptor before it is projected."""

LONGEST_TEXT = 65535
"""Bytes of the longest text that a field of Milvus holds."""

_STEP = 2.0**-7
"""Of a rounded descriptor's numbers, which are within -1 and 1."""

_AROUND = 1.0
"""Of a keypoint's own size: half the side of the square whose mean is its colour."""

_FEWEST = 4
"""Keypoints that say anything about a place."""


class KeypointSettings(BaseModel):
    """How keypoints are found in a crop, and which matches of two crops count."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)

    image_size: int = Field(ge=32, alias="side")
    """Longer side of a scaled crop, in pixels; `side` in `bundle.json`."""
    count: int = Field(ge=0)
    """Keypoints of a crop at most, the strongest; 0 compares none."""
    contrast: float = Field(default=0.02, gt=0)
    """Weaker keypoints are left out: SIFT's contrast threshold."""
    edge: float = Field(default=20.0, gt=1)
    """SIFT's edge threshold: keypoints that could slide along an edge are left out."""
    ratio: float = Field(default=0.85, gt=0, le=1)
    """Of a match's distance to that of the next best, at most."""
    tolerance: float = Field(default=5.0, gt=0)
    """Pixels by which a match may miss the place that the others give it."""
    like: float = Field(default=6.0, gt=0)
    """Chroma difference of an inlier less the median one: up to this distance its colours agree."""
    photos: int = Field(ge=1)
    """The nearest photos of an instance that are verified."""
    dimension: int = Field(ge=1, le=ROOTSIFT)
    """Of a stored descriptor."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        # Four characters for three bytes, see `Keypoints.pack`.
        size = -(-self.count * (self.dimension + 6) // 3) * 4
        if size > LONGEST_TEXT:
            raise ValueError(f"count x (dimension + 6): {size} characters, {LONGEST_TEXT} fit")
        return self


@dataclass(frozen=True)
class Keypoints:
    """Those of one crop, K of them; 0 where it shows too little.

    Attributes:
        places: float32 `[K, 2]`, x and y in pixels of the crop scaled to `image_size` of the
            settings.
        descriptors: float32 `[K, D]`.
        chroma: float32 `[K, 2]`, CIELAB's a and b around each.
    """

    places: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    chroma: NDArray[np.float32]

    def __len__(self) -> int:
        """K."""
        return len(self.places)

    def pack(self) -> str:
        """As text for a row of the index: `4 K (D + 6) / 3` characters of ASCII."""
        rounded = np.clip(np.round(self.descriptors / _STEP), -127, 127).astype(np.int8)
        places = np.round(self.places * 8).astype("<i2")
        chroma = np.clip(np.round(self.chroma), -127, 127).astype(np.int8)
        content = places.tobytes() + rounded.tobytes() + chroma.tobytes()
        return base64.b64encode(content).decode("ascii")

    @classmethod
    def unpack(cls, text: str, dimension: int) -> Self:
        """Undo `pack`; "" is no keypoint.

        Args:
            text: of a row.
            dimension: D.
        """
        content = base64.b64decode(text)
        count = len(content) // (dimension + 6)
        places, rest = content[: 4 * count], content[4 * count :]
        numbers = np.frombuffer(rest, np.int8).astype(np.float32)
        descriptors = numbers[: count * dimension].reshape(count, dimension) * np.float32(_STEP)
        chroma = numbers[count * dimension :].reshape(count, 2)
        return cls(
            np.frombuffer(places, "<i2").reshape(count, 2) * np.float32(1 / 8),
            descriptors,
            chroma,
        )


class RootSift(NamedTuple):
    """Of one crop: places `[K, 2]`, descriptors `[K, 128]` of length 1 and chroma `[K, 2]`."""

    places: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    chroma: NDArray[np.float32]


def keypoints(
    photo: Photo, boxes: Boxes, settings: KeypointSettings, projection: Projection
) -> list[Keypoints]:
    """The keypoints of some boxes of a photo.

    Args:
        photo: upright RGB pixels.
        boxes: `[N, 4]` in pixels.
        settings: of the bundle.
        projection: of the bundle.
    """
    found = [rootsift(photo, box, settings) for box in boxes]
    return [
        Keypoints(one.places, np.asarray(one.descriptors @ projection, np.float32), one.chroma)
        for one in found
    ]


def fit_projection(descriptors: Sequence[NDArray[np.float32]], dimension: int) -> Projection:
    """The directions in which descriptors `[K, 128]` of some photos are longest.

    Not their principal components: distances stay what they are only without a shift.

    Args:
        descriptors: of each photo.
        dimension: D.
    """
    moments = sum((rows.T @ rows for rows in descriptors), np.zeros((ROOTSIFT, ROOTSIFT)))
    _, directions = np.linalg.eigh(moments.astype(np.float64))
    return np.ascontiguousarray(directions[:, ::-1][:, :dimension], np.float32)


def rootsift(photo: Photo, box: NDArray[np.float32], settings: KeypointSettings) -> RootSift:
    """Keypoints of one box `[4]`, their descriptors as long as they come."""
    nothing = RootSift(*(np.zeros((0, size), np.float32) for size in (2, ROOTSIFT, 2)))
    if not settings.count:
        return nothing
    crop = _scaled(photo, box, settings.image_size)
    sift = cv2.SIFT.create(
        nfeatures=settings.count,
        contrastThreshold=settings.contrast,
        edgeThreshold=settings.edge,
    )
    found, raw = sift.detectAndCompute(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), None)
    if len(found) < _FEWEST:
        return nothing
    # Of places with several directions SIFT gives one more than it was asked for.
    found, raw = found[: settings.count], raw[: settings.count]
    places = np.asarray([point.pt for point in found], np.float32)
    descriptors = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
    sizes = np.asarray([point.size for point in found], np.float32)
    return RootSift(places, np.asarray(descriptors, np.float32), _chroma(crop, places, sizes))


def _chroma(
    crop: Photo, places: NDArray[np.float32], sizes: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mean a and b `[K, 2]` of the squares around some places `[K, 2]`, as large as their sizes."""
    lab = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    sums = cv2.integral(lab)[:, :, 1:]
    limit = np.asarray([crop.shape[1], crop.shape[0]])
    reach = np.maximum(_AROUND * sizes, 1)[:, None]
    # Never empty: a place is within the crop.
    x0, y0 = np.clip(np.floor(places - reach), 0, limit - 1).astype(int).T
    x1, y1 = np.clip(np.ceil(places + reach), 1, limit).astype(int).T
    total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return np.asarray(total / ((x1 - x0) * (y1 - y0))[:, None], np.float32)


def _scaled(photo: Photo, box: NDArray[np.float32], side: int) -> Photo:
    height, width = photo.shape[:2]
    x0, y0 = (int(max(0, np.floor(value))) for value in box[:2])
    x1 = int(min(width, max(x0 + 2, np.ceil(box[2]))))
    y1 = int(min(height, max(y0 + 2, np.ceil(box[3]))))
    part = photo[min(y0, y1 - 1) : y1, min(x0, x1 - 1) : x1]
    factor = side / max(part.shape[:2])
    size = (max(2, round(part.shape[1] * factor)), max(2, round(part.shape[0] * factor)))
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, size, interpolation=smooth), np.uint8)
