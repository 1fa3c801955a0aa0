"""Photos of a folder as small JPEGs, and the way from a stored path to a file of that folder."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from unbundle.base.catalogue_cells import leads_out
from unbundle.vision.imaging import UPLOADS, opened

_QUALITY = 86
_BEHIND = "#ffffff"  # a transparent photo: shops show their goods on white


def find_photo(folder: Path, image: str, roots: Sequence[Path] = ()) -> Path | None:
    """The file that a stored path names, without links; None where it may not be read.

    Args:
        folder: of photos.
        image: path relative to it.
        roots: further folders that links may lead to, such as DVC's cache.
    """
    if leads_out(image):
        return None
    try:
        path = (folder / image).resolve(strict=True)
        inside = any(path.is_relative_to(root.resolve()) for root in (folder, *roots))
        return path if inside and path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None  # missing, links in a circle, a NUL


def thumbnail(path: Path, side: int, most_pixels: int) -> bytes:
    """A photo as an upright JPEG that fits a square; never enlarged.

    Args:
        path: of an image file.
        side: of the square, in pixels.
        most_pixels: of the photo; its size is read before its pixels.

    Raises:
        UserError: see `unbundle.vision.imaging.opened`.
    """
    with opened(path, most_pixels, UPLOADS) as image:
        image.draft("RGB", (side, side))  # a JPEG is decoded at a fraction of its size
        small = ImageOps.exif_transpose(image)
        small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        file = io.BytesIO()
        _opaque(small).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    whole = Image.new("RGBA", layer.size, _BEHIND)
    return Image.alpha_composite(whole, layer).convert("RGB")
