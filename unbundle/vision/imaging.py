"""From image bytes to network inputs: the one implementation that training and serving share."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from unbundle.base.errors import UserError
from unbundle.base.request_limits import MOST_PIXELS, check_size, too_large
from unbundle.vision.boxes import Boxes

Photo = NDArray[np.uint8]
"""RGB pixels `[height, width, 3]`, upright (EXIF orientation applied)."""

PADDING = 114 / 255
"""Grey of the letterbox borders, the YOLO family's convention."""


UPLOADS = ("JPEG", "PNG", "WEBP")
"""Formats that the service decodes: each decoder that Pillow has besides is one more to attack."""


@dataclass(frozen=True)
class UploadedPhoto:
    """A stranger's image, decoded when it is called: a batch's pixels would fill the memory.

    Attributes:
        file: bytes of a JPEG, PNG or WebP.
        most_pixels: that it may have.
    """

    file: bytes
    most_pixels: int

    def __call__(self) -> Photo:
        """The pixels; raises as `open_upload` does."""
        return open_upload(self.file, self.most_pixels)


@contextmanager
def opened(
    source: Path | bytes, most_pixels: int = MOST_PIXELS, formats: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """Open an image file or its bytes, whose pixels the block decodes: every photo comes this way.

    Args:
        source: the file, or its content.
        most_pixels: width times height at most, known from the head before anything is decoded.
        formats: that are tried, in Pillow's names; None is all that Pillow knows.

    Raises:
        UserError: the file is missing, in none of the formats, too large or too long (see
            `unbundle.base.request_limits`), or the block cannot decode it.
    """
    name = "the photo" if isinstance(source, bytes) else str(source)
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(file, formats=formats) as image:
            check_size(name, image.width, image.height, most_pixels)
            yield image
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; give the path of a JPEG, PNG or WebP") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # The warning where a program turns warnings into errors.
        raise too_large(name, most_pixels) from None
    except Exception as error:
        # Whatever a decoder trips over (struct.error, IndexError, zlib.error …), the bytes caused.
        reason = type(error).__name__ if isinstance(source, bytes) else error
        raise UserError(
            f"{name}: not a readable image ({reason}); give a JPEG, PNG or WebP"
        ) from error


def open_photo(source: Path | bytes) -> Photo:
    """Decode an image file or its bytes.

    Raises:
        UserError: see `opened`.
    """
    with opened(source) as image:
        return _upright(image)


def open_upload(content: bytes, most_pixels: int) -> Photo:
    """Decode the bytes of a stranger's image: of `UPLOADS` alone, and not of more pixels.

    Raises:
        UserError: see `opened`.
    """
    with opened(content, most_pixels, UPLOADS) as image:
        return _upright(image)


def _upright(image: Image.Image) -> Photo:
    # In place, and without a copy of what is RGB: each is four bytes more per pixel.
    ImageOps.exif_transpose(image, in_place=True)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def letterbox(photo: Photo, side: int) -> tuple[NDArray[np.float32], float]:
    """Scale a photo to fit a square, top left, and pad it with grey.

    Returns:
        The input `[3, side, side]`, float32 RGB in 0..1, and the factor from photo pixels to
        input pixels: `photo_boxes = input_boxes / factor`.
    """
    height, width = photo.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    resized = Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    canvas = np.full((3, side, side), PADDING, np.float32)
    canvas[:, : size[1], : size[0]] = np.asarray(resized).transpose(2, 0, 1)
    canvas[:, : size[1], : size[0]] /= 255
    return canvas, factor


def crops(photo: Photo, boxes: Boxes, side: int) -> NDArray[np.uint8]:
    """Cut boxes `[N, 4]` out of a photo, each padded to a square and scaled.

    The square keeps the product's proportions; what lies beyond the box is the box's mean colour,
    so that neighbours in a bundle do not leak into the crop.

    Returns:
        uint8 RGB `[N, side, side, 3]`.
    """
    height, width = photo.shape[:2]
    cut = np.empty((len(boxes), side, side, 3), np.uint8)
    for row, box in enumerate(boxes):
        x0, y0 = (int(max(0, np.floor(value))) for value in box[:2])
        x1 = int(min(width, max(x0 + 1, np.ceil(box[2]))))
        y1 = int(min(height, max(y0 + 1, np.ceil(box[3]))))
        x0, y0 = min(x0, x1 - 1), min(y0, y1 - 1)
        part = Image.fromarray(photo[y0:y1, x0:x1])
        factor = side / max(part.size)
        size = (max(1, round(part.width * factor)), max(1, round(part.height * factor)))
        scaled = part.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        left, top = (side - size[0]) // 2, (side - size[1]) // 2
        if size != (side, side):
            cut[row] = _mean_colour(part)
        cut[row, top : top + size[1], left : left + size[0]] = np.asarray(scaled)
    return cut


def _mean_colour(image: Image.Image) -> NDArray[np.int64]:
    """Mean `[3]` over an RGB image's pixels, rounded down."""
    # Over the histogram: numpy's mean over an axis of three is ten times as slow.
    counts = np.asarray(image.histogram()).reshape(3, 256)
    total: NDArray[np.int64] = counts @ np.arange(256) // (image.width * image.height)
    return total


def geometry(
    boxes: Boxes, width: int | NDArray[np.int64], height: int | NDArray[np.int64]
) -> NDArray[np.float32]:
    """Box geometry `[N, 5]`: x0, y0, x1, y1 and area as fractions of the photo (paper sec. 4.1).

    Args:
        boxes: pixels `[N, 4]`.
        width, height: pixels of the photo, or `[N]` of each box's photo.
    """
    scale = np.stack([width, height, width, height], axis=-1)
    relative = np.clip(np.asarray(boxes / scale, np.float32), 0, 1)
    area = (relative[:, 2] - relative[:, 0]) * (relative[:, 3] - relative[:, 1])
    return np.concatenate([relative, area[:, None]], axis=1)


def normalise(
    cut: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """Network input `[N, 3, side, side]` of crops `[N, side, side, 3]`.

    Args:
        cut: uint8 RGB.
        mean, std: per channel of pixels in 0..1.
    """
    scale = (1 / (255 * np.asarray(std))).astype(np.float32)
    shift = (np.asarray(mean) / np.asarray(std)).astype(np.float32)
    # Bytes are moved, not floats, and the rest happens in place.
    values = np.ascontiguousarray(cut.transpose(0, 3, 1, 2)).astype(np.float32)
    values *= scale[:, None, None]
    values -= shift[:, None, None]
    return values
