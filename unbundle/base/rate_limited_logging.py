"""Warnings that strangers or a full disk could write by the thousand, told once a minute each."""

import logging
import threading
import time
from collections.abc import Callable

MINUTE = 60.0


class Sparing(logging.Filter):
    """Holds a warning back where the same line of code gave one less than a minute ago.

    The next one that passes says how many were held back. Errors always pass.

    Args:
        clock: seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock, self._lock = clock, threading.Lock()
        # By line, not by text: what a stranger sends is part of the text.
        self._told: dict[tuple[str, int], float] = {}
        self._held: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record passes."""
        if record.levelno >= logging.ERROR:
            return True
        place = record.pathname, record.lineno
        with self._lock:
            now = self._clock()
            if now - self._told.get(place, -MINUTE) < MINUTE:
                self._held[place] = self._held.get(place, 0) + 1
                return False
            self._told[place] = now
            held = self._held.pop(place, 0)
        if held:
            record.msg, record.args = f"{record.getMessage()} ({held} more in between)", ()
        return True


def spare(*loggers: str) -> None:
    """Hold back the repeated warnings of loggers, by name."""
    for name in loggers:
        logger = logging.getLogger(name)
        if not any(isinstance(one, Sparing) for one in logger.filters):
            logger.addFilter(Sparing())
