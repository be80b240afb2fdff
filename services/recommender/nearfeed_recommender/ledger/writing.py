"""What was served goes to the log off the request's path: noted at once, written within 200 ms.

A process that is killed loses what it had not yet written, and the next one counts that; what cannot be
written is counted too.
"""

import queue
import secrets
import threading
from collections import Counter as Tallied
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from prometheus_client import Counter

from nearfeed_contracts.event_log import EventLog, LogUnavailableError, Record
from nearfeed_recommender.ledger.tallies import Tally, abandoned

logger = structlog.get_logger(__name__)
NOTED = Counter("nearfeed_served_noted_total", "Sections of answers that were noted for the ledger.")
LOST = Counter(
    "nearfeed_served_lost_total",
    "Sections that the ledger lacks: too many waited (full), they could not be told (failed), or a process "
    "before this one ended with them (killed).",
    ["reason"],
)
_FLUSH_SECONDS = 0.1
_IDLE_SECONDS = 1.0
_MOST_WAITING = 10_000
_BATCH = 500

Note = Callable[[], Record]
KeepLoss = Callable[[str, str, int], None]  # id, reason, sections


class Ledger:
    """Thread-safe. A note is a function, called off the request's path, that tells what was served.

    `folder` is where this process keeps its tally while it runs, `keep_loss` what losses are told to.
    """

    def __init__(self, log: EventLog, folder: Path, keep_loss: KeepLoss) -> None:
        self._log = log
        self._folder = folder
        self._keep_loss = keep_loss
        self._notes: queue.Queue[Note] = queue.Queue(_MOST_WAITING)
        self._tally: Tally | None = None
        self._noted = threading.Event()
        self._noting = threading.Lock()  # a note waits and is counted, or neither
        self._counted = False
        self._losses: Tallied[str] = Tallied()
        self._losing = threading.Lock()
        self._unwritten: list[Record] = []  # touched by one thread, that of `run`

    def note(self, note: Note) -> None:
        NOTED.inc()
        with self._noting:
            if self._tally is not None:
                self._tally.noted()
            try:
                self._notes.put_nowait(note)
            except queue.Full:
                self._lose("full", 1)
        self._noted.set()

    def run(self, stop: threading.Event) -> None:
        """Flushes until `stop` is set, and once more then."""
        with self._tallying():
            self._flush_until(stop)

    def _flush_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if self._try_flush():
                self._noted.wait(_IDLE_SECONDS)
            self._noted.clear()
            stop.wait(_FLUSH_SECONDS)
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
            self._settle(len(batch))
            written += len(batch)
        return written

    @contextmanager
    def _tallying(self) -> Iterator[None]:
        """Counts in a file within the block, as far as there can be one."""
        try:
            with self._noting:
                self._tally = Tally(self._folder, self._notes.qsize() + len(self._unwritten))
        except OSError as error:
            logger.warning("what is lost when this process is killed is not counted", error=str(error))
        try:
            yield
        finally:
            if self._tally is not None:
                self._tally.close()

    def _count_abandoned(self) -> None:
        """Counts, once, what went with processes that were killed."""
        if self._counted:
            return
        for each in abandoned(self._folder):
            if each.sections:
                self._keep_loss(each.process, "killed", each.sections)
                LOST.labels("killed").inc(each.sections)
                logger.warning("a killed process took sections of the ledger with it", lost=each.sections)
            each.path.unlink()
        self._counted = True

    def _try_flush(self) -> bool:
        """Writes what there is; returns whether all of it was."""
        try:
            self.flush()
            self._count_abandoned()
            self._keep_losses()
        except Exception as error:
            expected = isinstance(error, LogUnavailableError)
            logger.warning("the ledger waits", error=str(error), exc_info=not expected)
            return False
        return True

    def _keep_losses(self) -> None:
        with self._losing:
            losses = self._losses.copy()
        for reason, sections in losses.items():
            if sections:
                self._keep_loss(secrets.token_hex(8), reason, sections)
                with self._losing:
                    self._losses[reason] -= sections

    def _lose(self, reason: str, sections: int) -> None:
        LOST.labels(reason).inc(sections)
        with self._losing:
            self._losses[reason] += sections
        self._settle(sections)

    def _settle(self, sections: int) -> None:
        if self._tally is not None:
            self._tally.settled(sections)

    def _tell_all(self) -> bool:
        """Makes records of all notes, so that they tell of now; returns whether there were any."""
        told = list(self._told())
        room = max(0, _MOST_WAITING - len(self._unwritten))
        self._unwritten += told[:room]
        if told[room:]:
            self._lose("full", len(told[room:]))
        return bool(told)

    def _told(self) -> Iterator[Record]:
        while True:
            try:
                note = self._notes.get_nowait()
            except queue.Empty:
                return
            try:
                yield note()
            except Exception:
                logger.exception("a section could not be told to the ledger")
                self._lose("failed", 1)
