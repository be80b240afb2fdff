"""What was served goes to the log off the request's path: noted at once, written within 200 ms.

A process that is killed loses what it had not yet written, and the next one counts that; what cannot be
written is counted too.
"""

import secrets
import threading
from collections import Counter as Tallied
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import structlog
from prometheus_client import Counter

from nearfeed_contracts.event_log import EventLog, LogUnavailableError, Record
from nearfeed_recommender.exposure_log.tallies import Tally, abandoned

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

KeepLoss = Callable[[str, str, int], None]  # id, reason, sections


class Ledger:
    """Thread-safe. `folder` is where this process keeps its tally, `keep_loss` what losses are told to."""

    def __init__(self, log: EventLog, folder: Path, keep_loss: KeepLoss) -> None:
        self._log = log
        self._folder = folder
        self._keep_loss = keep_loss
        self._waiting: deque[Record] = deque()  # one thread, that of `run`, takes from its beginning
        self._tally: Tally | None = None
        self._noted = threading.Event()
        self._noting = threading.Lock()  # a note waits and is counted, or neither
        self._counted = False
        self._losses: Tallied[str] = Tallied()
        self._losing = threading.Lock()

    def note(self, record: Record) -> None:
        """Takes a section that was served."""
        NOTED.inc()
        with self._noting:
            if self._tally is not None:
                self._tally.noted()
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append(record)
            else:
                self._lose("full", 1)
        self._noted.set()

    def note_failed(self) -> None:
        """Counts a section that could not be told."""
        NOTED.inc()
        LOST.labels("failed").inc()
        with self._losing:
            self._losses["failed"] += 1
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
        """Writes what waits; returns how many sections. Where the log is down they are kept.

        Raises LogUnavailableError.
        """
        written = 0
        while batch := self._first():
            self._log.append(batch)
            with self._noting:
                for _ in batch:
                    self._waiting.popleft()
                self._settle(len(batch))
            written += len(batch)
        return written

    def _first(self) -> list[Record]:
        with self._noting:
            return list(islice(self._waiting, _BATCH))

    @contextmanager
    def _tallying(self) -> Iterator[None]:
        """Counts in a file within the block, as far as there can be one."""
        try:
            with self._noting:
                self._tally = Tally(self._folder, len(self._waiting))
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
