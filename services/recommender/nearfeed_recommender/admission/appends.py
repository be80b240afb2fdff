"""Records of requests on their way to the log: one thread appends those that wait, together."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from nearfeed_contracts.event_log import EventLog, LogUnavailableError, Record
from nearfeed_recommender.admission.work_pool import WAITING, EndedLateError, PoolFullError

_MOST_RECORDS = 1_000


class _Append(NamedTuple):
    """One request's records. `done` is set in `loop`."""

    records: Sequence[Record]
    done: "asyncio.Future[None]"
    loop: asyncio.AbstractEventLoop


class Appends:
    """Appends the records of all requests that wait at once, so that they share a commit and wake one thread.

    At most `capacity` requests wait. The thread is a daemon, started by the first of them. All methods may be
    called from any thread.
    """

    name = "append"

    def __init__(self, log: EventLog, capacity: int) -> None:
        self._log = log
        self.capacity = capacity
        self._waiting: deque[_Append] = deque()
        self._count = 0
        self._changed = threading.Condition()
        self._has_thread = False
        self._gauge = WAITING.labels(self.name)

    @property
    def waiting(self) -> int:
        """Requests whose records are not on the log yet."""
        return self._count

    async def put(self, records: Sequence[Record], end_by: float) -> None:
        """Returns when the records are on the log, all or none of them, by a time of time.monotonic.

        Records that are not given up may be on the log after a PoolError. Raises LogUnavailableError too.
        """
        loop = asyncio.get_running_loop()
        mine = _Append(records, loop.create_future(), loop)
        with self._changed:
            if self._count >= self.capacity:
                raise PoolFullError(f"Too many calls are in flight ({self.name}); try again.")
            self._count += 1
            self._waiting.append(mine)
            if not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._run, name=self.name, daemon=True).start()
            self._changed.notify()
        timer = loop.call_later(end_by - time.monotonic(), _give_up, mine.done)
        try:
            await mine.done
        finally:
            timer.cancel()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                some = self._take()
                self._gauge.set(len(self._waiting))
            outcomes = self._append(some)
            with self._changed:
                self._count -= len(some)
            for loop in {append.loop for append in some}:
                with suppress(RuntimeError):  # the loop is closed, and nobody waits
                    loop.call_soon_threadsafe(_settle, loop, some, outcomes)

    def _take(self) -> list[_Append]:
        """The oldest requests, of which nobody has given up, up to a number of records."""
        some: list[_Append] = []
        records = 0
        while self._waiting and records < _MOST_RECORDS:
            append = self._waiting.popleft()
            if append.done.done():
                self._count -= 1
                continue
            some.append(append)
            records += len(append.records)
        return some

    def _append(self, some: Sequence[_Append]) -> list[Exception | None]:
        """What came of each request. Where something is wrong with a record, each is tried by itself."""
        try:
            self._log.append([record for append in some for record in append.records])
        except LogUnavailableError as error:
            return [error] * len(some)
        except Exception as error:
            return [error] if len(some) == 1 else [self._append([append])[0] for append in some]
        return [None] * len(some)


def _settle(
    loop: asyncio.AbstractEventLoop, some: Sequence[_Append], outcomes: Sequence[Exception | None]
) -> None:
    for append, error in zip(some, outcomes, strict=True):
        if append.loop is not loop or append.done.done():
            continue
        if error is None:
            append.done.set_result(None)
        else:
            append.done.set_exception(error)


def _give_up(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_exception(EndedLateError("The answer was not ready in time; try again."))
