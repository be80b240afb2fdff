"""What was served goes to the log off the request's path: noted at once, written within 200 ms.

A process that is killed loses what it had not yet written; what cannot be written is counted.
"""

import queue
import threading
from collections.abc import Callable, Iterator

import structlog
from prometheus_client import Counter

from nearfeed_contracts.event_log import EventLog, LogUnavailableError, Record
from nearfeed_contracts.events import Served
from nearfeed_contracts.topics import record_of

logger = structlog.get_logger(__name__)
NOTED = Counter("nearfeed_served_noted_total", "Sections of answers that were noted for the ledger.")
LOST = Counter(
    "nearfeed_served_lost_total",
    "Sections that the ledger lacks: too many waited (full), or they could not be told (failed).",
    ["reason"],
)
_FLUSH_SECONDS = 0.1
_MOST_WAITING = 10_000
_BATCH = 500

Note = Callable[[], Served]


class Ledger:
    """Thread-safe. A note is a function, called off the request's path, that tells what was served."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._notes: queue.Queue[Note] = queue.Queue(_MOST_WAITING)
        self._unwritten: list[Record] = []

    def note(self, note: Note) -> None:
        NOTED.inc()
        try:
            self._notes.put_nowait(note)
        except queue.Full:
            LOST.labels("full").inc()

    def run(self, stop: threading.Event) -> None:
        """Flushes until `stop` is set, and once more then."""
        while not stop.wait(_FLUSH_SECONDS):
            self._try_flush()
        self._try_flush()

    def flush(self) -> int:
        """Writes what waits; returns how many sections. Raises LogUnavailableError, and keeps them then."""
        written = 0
        while self._unwritten or not self._notes.empty():
            self._unwritten.extend(self._told(_BATCH - len(self._unwritten)))
            if self._unwritten:
                self._log.append(self._unwritten)
            written += len(self._unwritten)
            self._unwritten = []
        return written

    def _try_flush(self) -> None:
        try:
            self.flush()
        except LogUnavailableError as error:
            logger.warning("the ledger waits", error=str(error))

    def _told(self, most: int) -> Iterator[Record]:
        for _ in range(most):
            try:
                note = self._notes.get_nowait()
            except queue.Empty:
                return
            try:
                yield record_of(note())
            except Exception:
                logger.exception("a section could not be told to the ledger")
                LOST.labels("failed").inc()
