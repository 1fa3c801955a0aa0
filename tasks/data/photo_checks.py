"""Photos of a catalogue as validation sees them: found, decoded, measured, hashed."""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tasks.data.phash import SIDE, perceptual_hash
from unbundle.base.catalogue_cells import leads_out
from unbundle.base.errors import UserError
from unbundle.base.request_limits import check_size

SLICE = 64
"""Photos per unit of work, so that a million of them do not become a million futures."""

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


@dataclass(frozen=True)
class PhotoCheck:
    """What is known of one photo.

    Attributes:
        problem: why it cannot be used, or "".
        width: of the upright photo in pixels; 0 where there is a problem.
        height: likewise.
        hash: 64-bit perceptual hash; 0 where there is a problem.
    """

    problem: str
    width: int = 0
    height: int = 0
    hash: int = 0


def locate(folder: Path, image: str) -> Path:
    """The file that a row's `image` names.

    Raises:
        ValueError: none is named, it is not there, or the path leads out of the folder: it is
            absolute, holds `..`, or passes through a link that points elsewhere.
    """
    if not image:
        raise ValueError("no image is named")
    outside = f"image {image!r} leads out of the catalogue folder"
    if leads_out(image):
        raise ValueError(outside)
    head, name = os.path.split(image)
    try:
        parent, within = _resolved(folder.absolute(), head)
        file = parent / name
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            file = file.resolve(strict=True)
            mode = file.stat().st_mode
            within = file.is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # too long, a circle of links, a null character
        raise ValueError(f"image {image!r} is not in the catalogue folder") from None
    if not within:
        raise ValueError(outside)
    if not stat.S_ISREG(mode):
        raise ValueError(f"image {image!r} is not a file")
    return file


@lru_cache(maxsize=1024)
def _resolved(folder: Path, below: str) -> tuple[Path, bool]:
    """A folder of a catalogue without its links, and whether it is within."""
    # A million photos lie in few folders, and to follow links costs more than to read a photo.
    found = (folder / below).resolve(strict=True)
    return found, found.is_relative_to(folder.resolve())


def check_photos(folder: Path, images: Sequence[str]) -> Iterator[PhotoCheck]:
    """Check the photos that rows name, in their order, on all processor cores."""
    slices = (images[start : start + SLICE] for start in range(0, len(images), SLICE))
    # Pillow lets other threads run while it decodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for checks in pool.map(partial(_check_slice, folder), slices):
            yield from checks


def _check_slice(folder: Path, images: Sequence[str]) -> list[PhotoCheck]:
    return [_check(folder, image) for image in images]


def _check(folder: Path, image: str) -> PhotoCheck:
    try:
        path = locate(folder, image)
    except ValueError as error:
        return PhotoCheck(str(error))
    try:
        with Image.open(path) as photo:
            width, height = photo.size
            check_size(f"image {image!r}", width, height)
            if photo.getexif().get(ExifTags.Base.Orientation, 1) in SIDEWAYS:
                width, height = height, width
            # libjpeg then decodes at a fraction of the size, and still reads every byte.
            photo.draft("L", (2 * SIDE, 2 * SIDE))
            upright = ImageOps.exif_transpose(photo)
            return PhotoCheck("", width, height, perceptual_hash(upright))
    except UserError as error:
        return PhotoCheck(str(error))
    except UnidentifiedImageError:
        return PhotoCheck(f"image {image!r} is in no format that is known")
    except Exception as error:  # on broken bytes a decoder raises whatever it stumbles over
        return PhotoCheck(f"image {image!r} does not decode ({' '.join(str(error).split())})")
