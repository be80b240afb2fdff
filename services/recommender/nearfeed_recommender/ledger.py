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
        self._unwritten: list[Record] = []  # touched by one thread, that of `run`

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
        """Writes what waits; returns how many sections. Where the log is down they are kept, told by then.

        Raises LogUnavailableError.
        """
        written = 0
        while self._tell_all() or self._unwritten:
            batch = self._unwritten[:_BATCH]
            self._log.append(batch)
            del self._unwritten[: len(batch)]
            written += len(batch)
        return written

    def _try_flush(self) -> None:
        try:
            self.flush()
        except Exception as error:
            expected = isinstance(error, LogUnavailableError)
            logger.warning("the ledger waits", error=str(error), exc_info=not expected)

    def _tell_all(self) -> bool:
        """Makes records of all notes, so that they tell of now; returns whether there were any."""
        told = list(self._told())
        room = max(0, _MOST_WAITING - len(self._unwritten))
        self._unwritten += told[:room]
        LOST.labels("full").inc(len(told[room:]))
        return bool(told)

    def _told(self) -> Iterator[Record]:
        while True:
            try:
                note = self._notes.get_nowait()
            except queue.Empty:
                return
            try:
                yield record_of(note())
            except Exception:
                logger.exception("a section could not be told to the ledger")
                LOST.labels("failed").inc()
