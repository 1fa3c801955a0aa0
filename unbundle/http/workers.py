"""A bounded number of places for requests, and the threads that answer them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


class FullError(Exception):
    """Every place is taken."""


class Place:
    """A request's place, from its first byte to its answer."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._job: Future[Any] | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread. Cancelled, it is taken off the queue, or runs to its end."""
        job = self._pool.submit(work)
        self._job = job
        return await asyncio.wrap_future(job)

    def leave(self, give_back: Callable[[], None]) -> None:
        """Call `give_back` now, or when the work, which no one can stop, has ended."""
        if self._job is None:
            give_back()
        else:
            self._job.add_done_callback(lambda _: give_back())


class Workers:
    """Threads, and places for what they do and what waits for them.

    Memory stays bounded because a request takes its place before its body is read.

    Args:
        threads: requests that run at once.
        queue: further requests that have a place.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self.places = threads + queue
        self._taken = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, "unbundle-worker")

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._taken

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for the length of the block.

        Raises:
            FullError: there is none; nothing waits for one.
        """
        with self._lock:
            if self._taken >= self.places:
                raise FullError
            self._taken += 1
        place = Place(self._pool)
        try:
            yield place
        finally:
            place.leave(self._give_back)

    def close(self) -> None:
        """Wait for what runs; what waits is dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _give_back(self) -> None:
        with self._lock:
            self._taken -= 1
