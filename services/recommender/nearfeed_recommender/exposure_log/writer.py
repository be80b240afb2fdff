"""Writes exposure records to the log, outside of the request: within 200 ms of the response.

A process that is killed loses the records that it had not written. It counts records in a file that survives
it, and the next process reports the loss.
"""

import fcntl
import mmap
import secrets
import struct
import threading
from collections import Counter as Tallied
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, delete

from nearfeed_contracts.event_log import EventLog, LogUnavailableError, Record
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import ledger_losses
from nearfeed_runtime.sql import committed, upsert

_COUNTS = struct.Struct("<qq")  # noted, settled
_SUFFIX = ".tally"


class Tally:
    """The counts of this process, thread-safe; `waiting` sections have been noted before.

    Raises OSError where the folder cannot be written.
    """

    def __init__(self, folder: Path, waiting: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        self._file = self._path.open("x+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.truncate(_COUNTS.size)
        self._map = mmap.mmap(self._file.fileno(), _COUNTS.size)
        self._changing = threading.Lock()
        self._noted, self._settled = 0, 0
        self._count(noted=waiting)

    def noted(self) -> None:
        """One more section is to be written."""
        self._count(noted=1)

    def settled(self, sections: int) -> None:
        """So many were written, or counted as lost."""
        self._count(settled=sections)

    def close(self) -> None:
        """Leaves the file to be found where something is not settled."""
        with self._changing:
            if self._noted == self._settled:
                self._path.unlink()
            self._map.close()
            self._file.close()

    def _count(self, noted: int = 0, settled: int = 0) -> None:
        with self._changing:
            self._noted += noted
            self._settled += settled
            if not self._map.closed:
                _COUNTS.pack_into(self._map, 0, self._noted, self._settled)


class Abandoned(NamedTuple):
    """The tally of a process that has ended, with how many sections it left; `path` may be removed."""

    path: Path
    process: str
    sections: int


def abandoned(folder: Path) -> Iterator[Abandoned]:
    """The tallies that no process holds any more; each stays held until the next is asked for."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with path.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            counts = file.read(_COUNTS.size)
            if len(counts) == _COUNTS.size:  # a shorter one is being made
                noted, settled = _COUNTS.unpack(counts)
                yield Abandoned(path, path.stem, noted - settled)


def keep_loss(engine: Engine, loss_id: str, reason: str, sections: int) -> None:
    """Keeps how many sections were lost; told again with the same id, it counts once."""
    row = {"loss_id": loss_id, "found_at": now_micros(), "reason": reason, "sections": sections}
    committed(engine, partial(upsert, table=ledger_losses, rows=[row], keep=["found_at"]))


def prune_losses(transaction: Connection, before: int) -> None:
    transaction.execute(delete(ledger_losses).where(ledger_losses.c.found_at < before))


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


class ExposureLogWriter:
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

    def count_failed(self) -> None:
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
