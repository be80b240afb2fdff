"""Pools of threads: bounds, order, one answer for each call, and idle at the end."""

import asyncio
import contextvars
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_recommender.admission.work_pool import (
    ClientGoneError,
    EndedLateError,
    PoolError,
    StartedLateError,
    WorkPool,
)

LONG = 60.0


async def run(
    pool: WorkPool,
    work: Callable[[], object],
    *,
    start: float = LONG,
    end: float = LONG,
    is_gone: Callable[[], bool] = lambda: False,
) -> object:
    now = time.monotonic()
    return await pool.run(work, now + start, now + end, is_gone)


async def outcome(pool: WorkPool, work: Callable[[], object], **limits: float) -> str:
    try:
        return str(await run(pool, work, **limits))
    except PoolError as refused:
        return refused.reason


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@contextmanager
def held() -> Iterator[threading.Event]:
    """An event that work waits for; it is set at the end, whatever fails."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


@settings(max_examples=25, deadline=None)
@given(threads=st.integers(1, 4), waiting=st.integers(0, 5), calls=st.integers(1, 20))
def test_no_more_run_than_threads_and_each_call_has_one_answer(
    threads: int, waiting: int, calls: int
) -> None:
    pool = WorkPool("test", threads, waiting)
    lock = threading.Lock()
    at_once: Counter[str] = Counter()

    async def load() -> list[str]:
        with held() as event:

            def work() -> str:
                with lock:
                    at_once["now"] += 1
                    at_once["most"] = max(at_once["most"], at_once["now"])
                event.wait(LONG)
                with lock:
                    at_once["now"] -= 1
                return "done"

            tasks = [asyncio.create_task(outcome(pool, work)) for _ in range(calls)]
            await until(lambda: at_once["now"] == min(threads, calls))
            assert pool.is_full == (calls >= threads + waiting)
            event.set()
            return await asyncio.gather(*tasks)

    answers = Counter(asyncio.run(load()))
    admitted = min(calls, threads + waiting)
    assert answers == +Counter({"done": admitted, "full": calls - admitted})
    assert at_once["most"] == min(threads, admitted)
    assert at_once["now"] == 0
    assert (pool.running, pool.waiting, pool.is_full) == (0, 0, False)


def test_the_oldest_call_goes_first() -> None:
    async def load() -> list[int]:
        pool, order = WorkPool("test", 1, 5), list[int]()
        with held() as event:
            first = asyncio.create_task(run(pool, lambda: event.wait(LONG)))
            await until(lambda: pool.running == 1)
            others = [
                asyncio.create_task(run(pool, lambda number=number: order.append(number)))
                for number in range(5)
            ]
            await until(lambda: pool.waiting == 5)
            event.set()
            await asyncio.gather(first, *others)
        return order

    assert asyncio.run(load()) == [0, 1, 2, 3, 4]


def test_work_that_hangs_is_given_up_and_holds_its_own_pool_alone() -> None:
    async def load() -> None:
        stuck, other, begun = WorkPool("stuck", 1, 1), WorkPool("other", 1, 0), list[int]()
        with held() as event:
            hanging = asyncio.create_task(run(stuck, lambda: event.wait(LONG), end=0.05))
            await until(lambda: stuck.running == 1)
            with pytest.raises(StartedLateError):
                await run(stuck, lambda: begun.append(1), start=0.05)
            with pytest.raises(EndedLateError):
                await hanging
            assert (stuck.running, stuck.waiting) == (1, 0)
            assert await run(other, lambda: "answered") == "answered"
        await until(lambda: stuck.running == 0)
        assert begun == []
        assert await run(stuck, lambda: "answered") == "answered"

    asyncio.run(load())


def test_work_that_waited_first_is_given_up_at_its_end_too() -> None:
    async def load() -> None:
        pool = WorkPool("test", 1, 1)
        with held() as first, held() as second:
            hanging = asyncio.create_task(run(pool, lambda: first.wait(LONG)))
            await until(lambda: pool.running == 1)
            waited = asyncio.create_task(outcome(pool, lambda: second.wait(LONG), start=0.1, end=0.2))
            await until(lambda: pool.waiting == 1)
            first.set()
            await hanging
            assert await waited in ("late", "waited")
        await until(lambda: pool.running == 0)

    asyncio.run(load())


def test_a_call_whose_client_has_gone_is_dropped_before_it_begins() -> None:
    async def load() -> None:
        pool, begun = WorkPool("test", 1, 2), list[str]()
        with held() as event:
            first = asyncio.create_task(run(pool, lambda: event.wait(LONG)))
            await until(lambda: pool.running == 1)
            gone = asyncio.create_task(run(pool, lambda: begun.append("gone"), is_gone=lambda: True))
            there = asyncio.create_task(run(pool, lambda: begun.append("there")))
            await until(lambda: pool.waiting == 2)
            event.set()
            await asyncio.gather(first, there)
            with pytest.raises(ClientGoneError):
                await gone
        assert begun == ["there"]

    asyncio.run(load())


def test_a_cancelled_call_leaves_its_place() -> None:
    async def load() -> None:
        pool = WorkPool("test", 1, 1)
        with held() as event:
            first = asyncio.create_task(run(pool, lambda: event.wait(LONG)))
            await until(lambda: pool.running == 1)
            second = asyncio.create_task(run(pool, lambda: None))
            await until(lambda: pool.waiting == 1)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            assert pool.waiting == 0
            event.set()
            await first

    asyncio.run(load())


def test_errors_and_the_context_of_the_caller_pass_through() -> None:
    name = contextvars.ContextVar("name", default="none")

    def fail() -> None:
        raise LookupError(name.get())

    async def load() -> None:
        pool = WorkPool("test", 1, 0)
        name.set("Ann")
        with pytest.raises(LookupError, match="Ann"):
            await run(pool, fail)
        assert await run(pool, name.get) == "Ann"

    asyncio.run(load())


def test_a_pool_outlives_an_event_loop_that_ends_before_its_work() -> None:
    pool = WorkPool("test", 1, 1)
    with held() as event:

        async def give_up() -> None:
            with pytest.raises(EndedLateError):
                await run(pool, lambda: event.wait(LONG), end=0.01)

        asyncio.run(give_up())
        event.set()

    async def again() -> None:
        await until(lambda: pool.running == 0)
        assert await run(pool, lambda: "answered") == "answered"

    asyncio.run(again())
