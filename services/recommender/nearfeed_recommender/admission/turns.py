"""Calls that compute for a millisecond, in the thread of the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from nearfeed_recommender.admission.work_pool import (
    ClientGoneError,
    PoolFullError,
    StartedLateError,
    WorkPool,
)

T = TypeVar("T")
_QUICK_SECONDS = 0.02
_NEWEST_SHARE = 0.1


class Turns:
    """Runs one call in each turn of the event loop, oldest first, as long as calls are quick.

    A call that only computes is not done sooner in another thread: the interpreter runs one thread at a time,
    and handing a call over and back costs it a third more. While calls take 20 ms and more (on average, the
    newest ones counting most), `pool` has them, so that they hold up nothing else. All methods may be called
    from any thread.
    """

    def __init__(self, pool: WorkPool) -> None:
        self._pool = pool
        self._seconds = 0.0
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        return self._pool.name

    @property
    def capacity(self) -> int:
        return self._pool.capacity

    async def run(
        self, work: Callable[[], T], start_by: float, end_by: float, is_gone: Callable[[], bool]
    ) -> T:
        """What the work returns; it begins by `start_by` and ends by `end_by`, in seconds of time.monotonic.

        Work that is quick is not given up when it ends late. Work that waits is dropped where `is_gone` says
        so. Raises what the work raises, or a PoolError.
        """
        if self._seconds < _QUICK_SECONDS:
            queue = self._queue_here()
            if len(queue) >= self.capacity:
                raise PoolFullError(f"Too many calls are in flight ({self.name}); try again.")
            await queue.turn()
            try:
                if is_gone():
                    raise ClientGoneError("The client has closed the connection.")
                if time.monotonic() > start_by:
                    raise StartedLateError("There was no turn in time; try again.")
                if self._seconds < _QUICK_SECONDS:
                    return self._timed(work)
            finally:
                queue.next()
        return await self._pool.run(lambda: self._timed(work), start_by, end_by, is_gone)

    def _timed(self, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds += _NEWEST_SHARE * (time.perf_counter() - began - self._seconds)

    def _queue_here(self) -> "_Queue":
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues[loop] = _Queue(loop)
        return queue


class _Queue:
    """Calls of one event loop that wait for their turn; the loop looks after its connections in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._create_future = loop.create_future
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    def __len__(self) -> int:
        return len(self._waiting) + self._is_taken

    async def turn(self) -> None:
        """Returns when it is this call's turn, which ends with `next`."""
        mine = self._create_future()
        self._waiting.append(mine)
        if not self._is_taken:
            self._is_taken = True
            self._call_soon(self._give)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.next()
            raise

    def next(self) -> None:
        """Ends a turn."""
        self._call_soon(self._give)

    def _give(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
