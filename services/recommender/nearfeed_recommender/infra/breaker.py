"""A deadline and a circuit breaker for questions to a vector server.

However a server fails, by refusing, by silence or by slowness, a request waits for it no longer than the
deadline. After some failures in a row nobody waits: one question a second tries whether the server
answers again, and the others fail at once (Nygard, Release It!, 2007: Circuit Breaker). An answer that
comes too late for its request says that the server is slow and not dead, so it is asked again.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

import structlog
from prometheus_client import Counter

from nearfeed_contracts.vector_store import StoreUnavailableError
from nearfeed_recommender.infra.threads import Threads

logger = structlog.get_logger(__name__)
FAILURES = Counter(
    "nearfeed_vector_failures_total",
    "Questions to the vector store without an answer: timeout, unavailable, or open (not asked).",
    ["reason"],
)
_FAILURES_TO_OPEN = 5
_TRY_SECONDS = 1.0
_THREADS = 64
T = TypeVar("T")


class StoreBreaker:
    """Asks a store within `seconds`; without, for a store in this process, as it is. Thread-safe."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._threads = Threads("vectors", _THREADS)
        self._lock = threading.Lock()
        self._failures = 0
        self._try_at = 0.0

    @property
    def waits(self) -> bool:
        """Whether questions go to a server, and are waited for."""
        return self._seconds is not None

    def ask(self, question: Callable[[], T]) -> T:
        """What `question` returns or raises; StoreUnavailableError after the deadline or while open."""
        if self._seconds is None:
            return question()
        self._admit()
        answer = self._threads.submit(question)
        wait([answer], self._seconds)
        if not answer.done():
            error = StoreUnavailableError(
                f"the vector store has not answered within {self._seconds * 1_000:.0f} ms "
                "(NEARFEED_SEARCH_TIMEOUT_MS)."
            )
            self._failed("timeout", error)
            if not answer.cancel():
                answer.add_done_callback(self._note_late)
            raise error
        self._note(answer)
        return answer.result()

    def _admit(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._failures < _FAILURES_TO_OPEN:
                return
            if now >= self._try_at:
                self._try_at = now + _TRY_SECONDS
                return
        FAILURES.labels("open").inc()
        raise StoreUnavailableError(
            f"the vector store is taken for dead and tried every {_TRY_SECONDS:.0f} s; the log has its error."
        )

    def _note(self, answer: Future[T]) -> None:
        """Any other error than StoreUnavailableError is an answer."""
        error = answer.exception()
        if isinstance(error, StoreUnavailableError):
            self._failed("unavailable", error)
        else:
            self._answered()

    def _note_late(self, answer: Future[T]) -> None:
        if not isinstance(answer.exception(), StoreUnavailableError):
            self._answered()

    def _answered(self) -> None:
        with self._lock:
            was_open, self._failures = self._failures >= _FAILURES_TO_OPEN, 0
        if was_open:
            logger.info("the vector store answers again")

    def _failed(self, reason: str, error: StoreUnavailableError) -> None:
        FAILURES.labels(reason).inc()
        with self._lock:
            self._failures += 1
            opens = self._failures == _FAILURES_TO_OPEN
            if opens:
                self._try_at = time.monotonic() + _TRY_SECONDS
        if opens:
            logger.error("the vector store is taken for dead", error=str(error))
