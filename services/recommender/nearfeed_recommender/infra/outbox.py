"""The outbox: changes reach the log because they stand in SQL's own transaction first."""

import threading
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, Row, delete, insert, select

from nearfeed_contracts.event_log import EventLog, Record
from nearfeed_contracts.events import Event
from nearfeed_contracts.tables import outbox
from nearfeed_contracts.topics import record_of
from nearfeed_runtime.polling import DatabaseVersion
from nearfeed_runtime.sql import committed, read_connection, sole_worker, statements

logger = structlog.get_logger(__name__)
RELAYED = Counter("nearfeed_outbox_relayed_total", "Changes that the relay has put on the log.")
_BATCH = 500
_POLL_SECONDS = 0.25  # who writes wakes its own relay; this is for what another process has left
_RETRY_SECONDS = 1.0


def put_outbox(transaction: Connection, events: Sequence[Event]) -> None:
    """Writes events beside the change that they tell of, in its transaction."""
    rows = [
        {
            "topic": record.topic,
            "key": record.key,
            "partition_key": record.partition_key,
            "value": record.value,
        }
        for record in map(record_of, events)
    ]
    for some in statements(rows):
        transaction.execute(insert(outbox), some)


class Relay:
    """Moves the outbox to the log, in order and at least once; consumers bear repetition."""

    def __init__(self, engine: Engine, log: EventLog) -> None:
        self._engine = engine
        self._log = log
        self._wake = threading.Event()

    def notify(self) -> None:
        """Says that there is something to move, so that it need not wait for the next look."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Moves what there is until `stop` is set, whenever the database may have changed."""
        empty_at = None
        with DatabaseVersion(self._engine) as version:
            while not stop.is_set():
                now = version.read()
                if now is None or now != empty_at:
                    try:
                        moved = self.run_once()
                    except Exception as error:
                        logger.warning("relay waits", error=str(error))
                        stop.wait(_RETRY_SECONDS)
                        continue
                    if moved:
                        continue
                    empty_at = now
                self._wake.wait(_POLL_SECONDS)
                self._wake.clear()

    def run_once(self) -> int:
        """Moves one batch; returns how many changes it held (0 too where another process moves it).

        Two relays at once could put an older version of a post after a newer one.
        """
        if not _waiting(self._engine, 1):
            return 0
        with sole_worker(self._engine, "relay") as alone:
            return self._move() if alone else 0

    def _move(self) -> int:
        rows = _waiting(self._engine, _BATCH)
        self._log.append([Record(row.topic, row.key, row.value, row.partition_key) for row in rows])
        moved = delete(outbox).where(outbox.c.id.in_([row.id for row in rows]))
        committed(self._engine, lambda transaction: transaction.execute(moved))
        RELAYED.inc(len(rows))
        return len(rows)


def _waiting(engine: Engine, limit: int) -> Sequence[Row[Any]]:
    with read_connection(engine) as connection:
        return connection.execute(select(outbox).order_by(outbox.c.id).limit(limit)).all()
