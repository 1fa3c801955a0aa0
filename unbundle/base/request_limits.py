"""What one request may cost the service, and how long things may take: every number of it."""

from dataclasses import dataclass

MOST_BOXES = 64
"""Boxes that a caller may give for one photo."""

USUAL_K = 10
"""Products of an answer where the caller does not say."""

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
    """Width times height of a photo; decoding one takes about ten bytes per pixel."""
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
