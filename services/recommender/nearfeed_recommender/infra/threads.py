"""Work that is done in another thread, so that nobody has to wait for it for ever."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import TypeVar

from nearfeed_contracts.errors import BackendUnavailableError

T = TypeVar("T")
_Work = tuple[Context, Callable[[], object], "Future[object]"]


class TooBusyError(BackendUnavailableError):
    """All threads are at work and enough work waits for them: back ends are slow."""


class Threads:
    """At most `most` threads, made when they are needed and used again. Thread-safe.

    They do not keep the process from ending. Work that nobody waits for any more can be cancelled as
    long as it has not begun (`Future.cancel`).
    """

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._waiting: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._made = self._unfinished = 0

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """The result to come. Raises TooBusyError."""
        with self._lock:
            if self._unfinished >= 2 * self._most:
                raise TooBusyError(f"{self._name}: {self._unfinished} calls are under way; try again.")
            self._unfinished += 1
            grow = self._unfinished > self._made and self._made < self._most
            self._made += grow
        answer: Future[T] = Future()
        self._waiting.put((copy_context(), work, answer))  # type: ignore[arg-type]
        if grow:
            threading.Thread(target=self._run, name=f"{self._name}-{self._made}", daemon=True).start()
        return answer

    def _run(self) -> None:
        while True:
            context, work, answer = self._waiting.get()
            if answer.set_running_or_notify_cancel():
                context.run(_do, work, answer)
            with self._lock:
                self._unfinished -= 1
            del context, work, answer


def _do(work: Callable[[], object], answer: "Future[object]") -> None:
    try:
        answer.set_result(work())
    except BaseException as error:
        answer.set_exception(error)
