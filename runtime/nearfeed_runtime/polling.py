"""Loops that look for what has changed in the database, at next to no cost while nothing does."""

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

logger = structlog.get_logger(__name__)
NOT_YET: Final = object()
"""What work returns that is to be done again at the next look."""


class DatabaseVersion:
    """A number that is another one after each commit by any other connection, of any process.

    SQLite has such a number at the price of some microseconds; elsewhere there is none. Use one object for
    each thread: it holds a connection that does nothing else, from the first look until `close`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> int | None:
        """The number; None where there is none, so that anything may have changed."""
        if self._engine.dialect.name != "sqlite":
            return None
        try:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
                self._connection.detach()
            return int(self._connection.cursor().execute("PRAGMA data_version").fetchone()[0])
        except (DBAPIError, self._engine.dialect.loaded_dbapi.Error):
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def when_changed(
    seconds: float, work: Callable[[], object], engine: Engine, *, at_least: float = math.inf
) -> Callable[[threading.Event], None]:
    """A loop body that looks each `seconds`, and does `work` where the database may have changed since.

    It does so too after `at_least` seconds without a change, and at the next look where it raised an error,
    which is logged, or returned NOT_YET.
    """

    def run(stop: threading.Event) -> None:
        done_at, due = None, 0.0
        with DatabaseVersion(engine) as version:
            while not stop.is_set():
                now = version.read()
                if now is None or now != done_at or time.monotonic() >= due:
                    done_at = now if _done(work) else None
                    due = time.monotonic() + at_least
                stop.wait(seconds)

    return run


def _done(work: Callable[[], object]) -> bool:
    try:
        return work() is not NOT_YET
    except Exception:
        logger.exception("loop failed", loop=threading.current_thread().name)
        return False
