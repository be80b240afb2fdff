"""A few threads for one kind of calls, and a short queue before them."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from prometheus_client import Gauge

from nearfeed_contracts.errors import BackendUnavailableError

T = TypeVar("T")

RUNNING = Gauge(
    "nearfeed_calls_running", "Calls that a thread works on.", ["pool"], multiprocess_mode="livesum"
)
WAITING = Gauge(
    "nearfeed_calls_waiting", "Calls that wait for a thread.", ["pool"], multiprocess_mode="livesum"
)


class PoolError(BackendUnavailableError):
    """A call that a pool did not answer; `reason` is a label of metrics."""

    reason = "error"


class PoolFullError(PoolError):
    """All threads are busy and the queue is full."""

    reason = "full"


class StartedLateError(PoolError):
    """No thread was free in time; the work has not begun."""

    reason = "waited"


class EndedLateError(PoolError):
    """The work is not done in time. Its thread is busy until it is, and the outcome is dropped."""

    reason = "late"


class ClientGoneError(PoolError):
    """The client closed the connection while the call was waiting; the work has not begun."""

    reason = "disconnected"


class WorkPool:
    """Runs calls in `threads` threads; up to `most_waiting` more wait, oldest first.

    So a call that hangs holds one thread of one pool, and never more than `threads` run. The threads are
    daemons, started with the first call: one that hangs does not keep the process from ending. All methods
    may be called from any thread.
    """

    def __init__(self, name: str, threads: int, most_waiting: int) -> None:
        self.capacity = threads + most_waiting
        self.name = name
        self._threads = threads
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._started = 0
        self._running = 0
        self._idle: list[SimpleQueue[_Call[Any]]] = []
        self._waiting: dict[_Call[Any], None] = {}
        self._running_gauge = RUNNING.labels(name)
        self._waiting_gauge = WAITING.labels(name)

    @property
    def running(self) -> int:
        """Calls that a thread works on, those included that nobody waits for any more."""
        return self._running

    @property
    def waiting(self) -> int:
        """Calls that wait for a thread."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._most_waiting and self._running >= self._threads

    async def run(
        self, work: Callable[[], T], start_by: float, end_by: float, is_gone: Callable[[], bool]
    ) -> T:
        """What the work returns; it begins by `start_by` and ends by `end_by`, in seconds of time.monotonic.

        Work that waits is dropped where `is_gone` says so. Raises what the work raises, or a PoolError.
        """
        loop = asyncio.get_running_loop()
        call = _Call(work, loop, is_gone)
        started = self._enter(call)
        limit = end_by if started else start_by
        timer = loop.call_later(limit - time.monotonic(), self._on_time, call, end_by)
        try:
            return await call.answer
        finally:
            (call.timer or timer).cancel()
            self._forget(call)

    def _enter(self, call: "_Call[Any]") -> bool:
        """Hands the call to a thread, or lets it wait; returns whether it has a thread."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(call)
            elif self._started < self._threads:
                self._start_thread(call)
            elif len(self._waiting) < self._most_waiting:
                self._waiting[call] = None
                self._waiting_gauge.set(len(self._waiting))
                return False
            else:
                raise PoolFullError(f"Too many calls are in flight ({self.name}); try again.")
            self._running += 1
            self._running_gauge.set(self._running)
            return True

    def _start_thread(self, call: "_Call[Any]") -> None:
        self._started += 1
        inbox: SimpleQueue[_Call[Any]] = SimpleQueue()
        inbox.put(call)
        name = f"{self.name}-{self._started}"
        threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True).start()

    def _work(self, inbox: "SimpleQueue[_Call[Any]]") -> None:
        """The life of a thread. It gets its next call from the event loop, which so has its turn first."""
        while True:
            call = inbox.get()
            call.run()
            try:
                call.loop.call_soon_threadsafe(self._ended, call, inbox)
            except RuntimeError:  # the loop is closed, and nobody waits
                self._give_next(inbox)

    def _ended(self, call: "_Call[Any]", inbox: "SimpleQueue[_Call[Any]]") -> None:
        self._give_next(inbox)
        call.answer_now()

    def _give_next(self, inbox: "SimpleQueue[_Call[Any]]") -> None:
        """Gives a thread the oldest call that waits and whose client is there, or lets it rest."""
        with self._lock:
            while self._waiting:
                call = next(iter(self._waiting))
                del self._waiting[call]
                self._waiting_gauge.set(len(self._waiting))
                if not call.is_gone():
                    inbox.put(call)
                    return
                call.drop(ClientGoneError("The client has closed the connection."))
            self._running -= 1
            self._running_gauge.set(self._running)
            self._idle.append(inbox)

    def _forget(self, call: "_Call[Any]") -> bool:
        """Whether the call was waiting; it does not begin then."""
        with self._lock:
            if call not in self._waiting:
                return False
            del self._waiting[call]
            self._waiting_gauge.set(len(self._waiting))
            return True

    def _on_time(self, call: "_Call[Any]", end_by: float) -> None:
        """Called at the time by which the call was to begin, and again when it was to end."""
        if call.answer.done():
            return
        has_begun = not self._forget(call)
        left = end_by - time.monotonic()
        if has_begun and left > 0:
            call.timer = call.loop.call_later(left, self._on_time, call, end_by)
        elif has_begun:
            call.answer.set_exception(EndedLateError("The answer was not ready in time; try again."))
        else:
            call.answer.set_exception(StartedLateError("No thread was free in time; try again."))


class _Call(Generic[T]):
    """Work with the one answer that its caller awaits."""

    __slots__ = ("_context", "_error", "_result", "_work", "answer", "is_gone", "loop", "timer")
    _result: T

    def __init__(
        self, work: Callable[[], T], loop: asyncio.AbstractEventLoop, is_gone: Callable[[], bool]
    ) -> None:
        self._work = work
        self._context = contextvars.copy_context()
        self._error: BaseException | None = None
        self.loop = loop
        self.is_gone = is_gone
        self.answer: asyncio.Future[T] = loop.create_future()
        self.timer: asyncio.TimerHandle | None = None

    def run(self) -> None:
        """Does the work in the context of its caller."""
        try:
            self._result = self._context.run(self._work)
        except BaseException as error:
            self._error = error

    def drop(self, error: BaseException) -> None:
        """Answers from any thread, without the work."""
        self._error = error
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            self.loop.call_soon_threadsafe(self.answer_now)

    def answer_now(self) -> None:
        """Answers from the thread of the loop, unless it is too late for that."""
        if self.answer.done():
            return
        if self._error is None:
            self.answer.set_result(self._result)
        else:
            self.answer.set_exception(self._error)
