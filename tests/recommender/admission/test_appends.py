"""Records of requests that wait together: each on the log or refused, in order, by one thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_contracts.event_log import LogUnavailableError, Record
from nearfeed_recommender.admission.appends import Appends
from nearfeed_recommender.admission.work_pool import EndedLateError, PoolFullError

LONG = 60.0
BAD = "bad"


class Log:
    """Takes records while it is open; it refuses a bad one with all that come with it."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.begun = 0
        self.down = False
        self.batches: list[list[str]] = []

    def append(self, records: Sequence[Record]) -> None:
        self.begun += 1
        self.open.wait(LONG)
        if self.down:
            raise LogUnavailableError("the log is away")
        if any(record.key == BAD for record in records):
            raise ValueError("a bad key")
        self.batches.append([record.key for record in records])

    @property
    def keys(self) -> list[str]:
        return [key for batch in self.batches for key in batch]


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    yield log
    log.open.set()


def records(*keys: str) -> list[Record]:
    return [Record("t", key, b"") for key in keys]


async def put(appends: Appends, *keys: str, seconds: float = LONG) -> str:
    try:
        await appends.put(records(*keys), time.monotonic() + seconds)
    except Exception as error:
        return type(error).__name__
    return "appended"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@settings(max_examples=40, deadline=None)
@given(calls=st.lists(st.lists(st.sampled_from(["a", "b", BAD]), min_size=1, max_size=3), max_size=20))
def test_each_call_is_appended_whole_or_refused_alone(calls: list[list[str]]) -> None:
    log = Log()
    appends = Appends(log, 100)  # type: ignore[arg-type]

    async def load() -> list[str]:
        return await asyncio.gather(*(put(appends, *keys) for keys in calls))

    assert asyncio.run(load()) == ["ValueError" if BAD in keys else "appended" for keys in calls]
    assert log.keys == [key for keys in calls if BAD not in keys for key in keys]


def test_what_waits_is_appended_together(log: Log) -> None:
    appends = Appends(log, 100)  # type: ignore[arg-type]

    async def load() -> None:
        log.open.clear()
        first = asyncio.create_task(put(appends, "first"))
        await until(lambda: log.begun == 1)
        others = [asyncio.create_task(put(appends, str(number))) for number in range(5)]
        await asyncio.sleep(0)
        log.open.set()
        assert await asyncio.gather(first, *others) == ["appended"] * 6

    asyncio.run(load())
    assert log.batches == [["first"], [str(number) for number in range(5)]]


def test_a_log_that_is_away_refuses_all_that_wait_at_once(log: Log) -> None:
    appends = Appends(log, 100)  # type: ignore[arg-type]

    async def load() -> list[str]:
        log.open.clear()
        first = asyncio.create_task(put(appends, "first"))
        await until(lambda: log.begun == 1)
        log.down = True
        others = [asyncio.create_task(put(appends, "u")) for _ in range(5)]
        await asyncio.sleep(0)
        log.open.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(load()) == [LogUnavailableError.__name__] * 6
    assert log.begun == 2
    log.down = False
    assert asyncio.run(put(appends, "again")) == "appended"


def test_calls_are_bounded_and_what_is_given_up_while_it_waits_is_not_appended(log: Log) -> None:
    appends = Appends(log, 2)  # type: ignore[arg-type]

    async def load() -> None:
        log.open.clear()
        first = asyncio.create_task(put(appends, "first"))
        await until(lambda: log.begun == 1)
        second = asyncio.create_task(put(appends, "second", seconds=0.05))
        await asyncio.sleep(0)
        assert await put(appends, "third") == PoolFullError.__name__
        assert await second == EndedLateError.__name__
        log.open.set()
        assert await first == "appended"
        await until(lambda: appends.waiting == 0)
        assert await put(appends, "fourth") == "appended"

    asyncio.run(load())
    assert log.keys == ["first", "fourth"]


def test_calls_of_several_loops_are_answered_in_their_own(log: Log) -> None:
    appends, answers = Appends(log, 100), list[str]()  # type: ignore[arg-type]
    log.open.clear()
    threads = [
        threading.Thread(target=lambda key=key: answers.append(asyncio.run(put(appends, key))))
        for key in "abcd"
    ]
    for thread in threads:
        thread.start()
    log.open.set()
    for thread in threads:
        thread.join(LONG)
    assert answers == ["appended"] * 4
    assert sorted(log.keys) == list("abcd")
