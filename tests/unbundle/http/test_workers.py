import asyncio
import threading

import pytest

from unbundle.http.workers import FullError, Workers


def test_places_are_counted_and_given_back() -> None:
    workers = Workers(threads=1, queue=1)
    with workers.place(), workers.place():
        assert (workers.places, workers.taken) == (2, 2)
        with pytest.raises(FullError), workers.place():
            pass
    assert workers.taken == 0
    workers.close()


def test_work_runs_in_a_thread_and_its_error_comes_back() -> None:
    workers = Workers(threads=1, queue=0)

    async def ask() -> str:
        with workers.place() as place:
            return await place.run(lambda: threading.current_thread().name)

    async def fail() -> None:
        with workers.place() as place:
            await place.run(lambda: int("x"))

    assert asyncio.run(ask()).startswith("unbundle-worker")
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(fail())
    assert workers.taken == 0
    workers.close()


def test_work_that_outlives_its_request_keeps_its_place() -> None:
    workers = Workers(threads=1, queue=0)
    begun, end = threading.Event(), threading.Event()

    async def ask() -> None:
        with workers.place() as place:
            async with asyncio.timeout(0.01):
                await place.run(lambda: (begun.set(), end.wait()))

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    assert begun.wait(5)
    assert workers.taken == 1
    end.set()
    workers.close()
    assert workers.taken == 0


def test_work_that_waits_is_dropped_with_its_request() -> None:
    workers = Workers(threads=1, queue=1)
    end, ran = threading.Event(), []

    async def ask() -> None:
        with workers.place() as first:
            running = asyncio.create_task(first.run(end.wait))
            await asyncio.sleep(0)  # it has the thread
            with pytest.raises(TimeoutError), workers.place() as second:
                async with asyncio.timeout(0.01):
                    await second.run(lambda: ran.append(1))
            await asyncio.sleep(0)  # the cancelled work is told
            assert workers.taken == 1
            end.set()
            await running

    asyncio.run(ask())
    workers.close()
    assert not ran
    assert workers.taken == 0
