"""What one request may cost the service, and how long things may take: every number of it."""

from dataclasses import dataclass

from unbundle.base.errors import UserError

MOST_BOXES = 64
"""Boxes that a caller may give for one photo."""

USUAL_K = 10
"""Products of an answer where the caller does not say."""

PHOTO_SIDE = 30_000
"""Pixels of a photo's longer side. Pillow keeps a pointer per row, and scaling walks rows: a strip
of 49 million rows took 3 GB and 18 s where a photo of as many pixels takes half of one."""

PHOTO_PROPORTION = 100
"""Of a photo's longer side to its shorter one. Shops' long pictures have 10; nothing is seen in a
strip whose shorter side the detector gets as 6 pixels."""

PILLOW_PIXELS = 89_478_485
"""Pixels beyond which Pillow takes a picture for a bomb and warns; it refuses twice as many."""

MOST_PIXELS = 2 * PILLOW_PIXELS
"""Of an own photo: where Pillow itself refuses."""

PIXEL_BYTES = 23
"""Memory that decoding takes at most, in bytes per pixel: a lossless WebP's. Others take 14."""

RECORD_BYTES = 1_000_000_000
"""Of recorded queries; the oldest go first."""

RECORD_DAYS = 30.0
"""That a recorded query is kept."""


@dataclass(frozen=True)
class Limits:
    """The numbers of `unbundle serve`; each is an option of it."""

    body_bytes: int = 20_000_000
    """Of one request. A base64 photo takes a third more than its file."""
    batch: int = 16
    """Queries of one batch, which takes one worker and one body."""
    pixels: int = 50_000_000
    """Width times height of a photo; decoding one takes `PIXEL_BYTES` each."""
    boxes: int = MOST_BOXES
    k: int = 100
    """Products per box."""
    offset: int = 1000
    """Products per box that may be skipped; all of them are searched for."""
    caption: int = 2000
    """Characters of a title; the network reads its first words."""
    seconds: float = 30.0
    """From a request's first byte to its answer."""
    workers: int = 2
    """Queries that run at once."""
    queue: int = 32
    """Requests that wait for a worker, the ones still being uploaded included."""
    retry_after: int = 1
    """Seconds that a refused client is asked to wait."""
    poll: float = 3.0
    """Seconds between two looks at the alias."""


def check_size(name: str, width: int, height: int, most_pixels: int = MOST_PIXELS) -> None:
    """Hold a picture's size against the limits.

    Raises:
        UserError: it is too large or too long.
    """
    if width * height > most_pixels:
        raise too_large(name, most_pixels)
    long, short = max(width, height), min(width, height)
    if long > PHOTO_SIDE or long > PHOTO_PROPORTION * short:
        raise UserError(
            f"{name}: {width:,} x {height:,} pixels; a side may have {PHOTO_SIDE:,} and "
            f"{PHOTO_PROPORTION} times the other; cut it"
        )


def too_large(name: str, most_pixels: int) -> UserError:
    """What is said of a picture of too many pixels."""
    return UserError(f"{name}: more than {most_pixels:,} pixels; scale it down")
