"""How many calls are worked on at a time, and how those above that are answered.

As load grows, a call is answered in full, then from a cheap source, then with 503. A call has a deadline. It
waits for a thread for half of it at most, and is worked on until four fifths of it; the rest is for the cheap
answer. The queue is short (16 calls a thread), and the oldest call goes first: so what is answered is fresh,
and a place in the queue is refused at once rather than given up later.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import Counter
from starlette.requests import HTTPConnection

from nearfeed_contracts.errors import BackendUnavailableError
from nearfeed_contracts.event_log import Record
from nearfeed_recommender.admission.appends import Appends
from nearfeed_recommender.admission.turns import Turns
from nearfeed_recommender.admission.work_pool import ClientGoneError, PoolError, PoolFullError, WorkPool

_WINDOW_SECONDS = 0.1
_BUSY_SHARE = 0.3


class Processor:
    """Looks, at most ten times a second, at how much processor time the process took since the last look.

    A process with one interpreter lock computes on about one core: at three tenths of one it is busy. Calls
    that wait for a server take hardly any. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._used = time.process_time()
        self._is_busy = False

    def is_busy(self) -> bool:
        with self._lock:
            now = time.monotonic()
            passed = now - self._looked
            if passed >= _WINDOW_SECONDS:
                used = time.process_time()
                self._is_busy = used - self._used >= _BUSY_SHARE * passed
                self._looked, self._used = now, used
            return self._is_busy


T = TypeVar("T")

DISCONNECTED = "nearfeed.disconnected"
SHED = Counter(
    "nearfeed_calls_shed_total", "Calls that were not answered in full.", ["pool", "reason", "answer"]
)
_WAITING_PER_THREAD = 16
_WRITE_THREADS = 16
_START_SHARE = 0.5
_END_SHARE = 0.8


class OverloadedError(BackendUnavailableError):
    """A call that was refused, or not answered in time; the same call may go through later."""


@dataclass(frozen=True)
class Deadline:
    """When an answer is due, in seconds of time.monotonic."""

    at: float


class Admission:
    """Admits calls of one kind to their pool of threads. Each call gets one answer within its deadline.

    A call with a `cheap` answer gets that where it is not answered in full, but only while `processor` has
    time left: cheap answers must not take the time of full ones. Thread-safe.
    """

    def __init__(
        self, pool: WorkPool | Turns, cheap_pool: WorkPool, processor: Processor, seconds: float
    ) -> None:
        self._pool = pool
        self._cheap_pool = cheap_pool
        self._processor = processor
        self._seconds = seconds
        self._entered = 0

    @property
    def is_full(self) -> bool:
        """Whether a call that comes now would be refused; asked before a request is read to its end."""
        if self._entered < self._pool.capacity:
            return False
        room = self._pool.capacity + self._cheap_pool.capacity
        return self._entered >= room or self._processor.is_busy()

    def enter(self) -> None:
        """Counts a request from its first line on; `leave` must follow."""
        self._entered += 1

    def leave(self) -> None:
        self._entered -= 1

    def count_refused(self) -> None:
        """Counts a request that was refused because of `is_full`."""
        SHED.labels(self._pool.name, PoolFullError.reason, "refused").inc()

    async def run(
        self,
        request: HTTPConnection,
        work: Callable[[Deadline], T],
        cheap: Callable[[], T] | None = None,
    ) -> T:
        """What `work` returns, or `cheap` where the work cannot be done in time; both run in threads.

        Work that begins is not cut off: it must look at its Deadline. Raises what they raise, and
        OverloadedError (503).
        """
        now = time.monotonic()
        end_by = now + _END_SHARE * self._seconds
        deadline = Deadline(end_by)

        def is_gone() -> bool:
            return DISCONNECTED in request.scope

        try:
            start_by = now + _START_SHARE * self._seconds
            return await self._pool.run(lambda: work(deadline), start_by, end_by, is_gone)
        except PoolError as refused:
            if cheap is None or isinstance(refused, ClientGoneError) or self._processor.is_busy():
                raise self._refusal(refused) from None
            reason = refused.reason
        return await self._cheaply(cheap, reason, now + self._seconds, is_gone)

    async def append(self, appends: Appends, records: Sequence[Record]) -> None:
        """Returns when records are on the log. Raises LogUnavailableError and OverloadedError (503)."""
        try:
            await appends.put(records, time.monotonic() + _END_SHARE * self._seconds)
        except PoolError as refused:
            raise self._refusal(refused) from None

    async def _cheaply(
        self, cheap: Callable[[], T], reason: str, end_by: float, is_gone: Callable[[], bool]
    ) -> T:
        try:
            answer = await self._cheap_pool.run(cheap, end_by, end_by, is_gone)
        except PoolError as refused:
            raise self._refusal(refused) from None
        SHED.labels(self._pool.name, reason, "cheap").inc()
        return answer

    def _refusal(self, refused: PoolError) -> OverloadedError:
        SHED.labels(self._pool.name, refused.reason, "refused").inc()
        return OverloadedError(str(refused))


@dataclass(frozen=True)
class Admissions:
    """One Admission for calls that read, and one for those that write, each with threads of its own."""

    reads: Admission
    writes: Admission


def open_admissions(
    threads: int, read_seconds: float, write_seconds: float, *, in_process: bool
) -> Admissions:
    """Admissions with `threads` threads for reads, 16 and more for writes, and one for cheap answers.

    Reads of back ends that are all in this process are done in the thread of the event loop while they are
    quick. A write waits for a commit, which those that come meanwhile share.
    """
    waiting = threads * _WAITING_PER_THREAD
    writers = max(threads, _WRITE_THREADS)
    processor = Processor()
    cheap = WorkPool("cheap", 1, _WAITING_PER_THREAD)
    reads = WorkPool("read", threads, waiting)
    return Admissions(
        Admission(Turns(reads) if in_process else reads, cheap, processor, read_seconds),
        Admission(WorkPool("write", writers, writers * _WAITING_PER_THREAD), cheap, processor, write_seconds),
    )
