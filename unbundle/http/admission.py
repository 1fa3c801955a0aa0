"""Admission of requests: each gets a place, a worker and a time limit, or is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from unbundle.base.request_limits import Limits
from unbundle.http.error_responses import Kind, ProblemError
from unbundle.http.request_bodies import discard
from unbundle.http.served_champion import LiveChampion, NotReadyError
from unbundle.http.workers import FullError, Workers

Result = TypeVar("Result")
Read = Callable[[Request], Awaitable[Callable[[], Result]]]
"""Receives a request's body, and returns the work for a thread."""


class Admission:
    """Admits requests: a place, then the body, then a worker, all within the time limit."""

    def __init__(self, live: LiveChampion, workers: Workers, limits: Limits) -> None:
        self.live, self._workers, self._limits = live, workers, limits
        self._later = {"Retry-After": str(limits.retry_after)}

    async def answer(self, request: Request, read: Read[Result]) -> Result:
        """Answer a request.

        Args:
            request: the request.
            read: receives its body, and returns the work for a thread.

        Raises:
            ProblemError: full, too slow, or nothing to answer with.
        """
        slow = ProblemError(Kind.UPLOAD_TOO_SLOW, f"{self._limits.seconds:g} s have passed")
        try:
            with self._workers.place() as place:
                async with asyncio.timeout(self._limits.seconds):
                    work = await read(request)
                    slow = ProblemError(Kind.TOO_SLOW, f"{self._limits.seconds:g} s have passed")
                    return await place.run(work)
        except TimeoutError:
            raise slow from None
        except ClientDisconnect:
            raise ProblemError(Kind.MALFORMED, "the body broke off") from None
        except FullError:
            await self._drain(request)
            detail = f"{self._workers.places} requests run or wait; try again"
            raise ProblemError(Kind.BUSY, detail, self._later) from None
        except NotReadyError:
            raise ProblemError(Kind.NOT_READY, "see /readyz", self._later) from None

    async def _drain(self, request: Request) -> None:
        """Let a refused client finish sending, or it would see a broken connection, no answer."""
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) <= self._limits.body_bytes:
            try:
                async with asyncio.timeout(self._limits.retry_after):
                    await discard(request)
            except (TimeoutError, ClientDisconnect):
                pass


def at_once(work: Callable[[], Result]) -> Read[Result]:
    """A `read` for requests without a body."""

    async def read(_: Request) -> Callable[[], Result]:
        return work

    return read
