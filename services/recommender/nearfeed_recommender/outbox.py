"""The outbox: changes reach the log because they stand in SQL's own transaction first."""

import threading
from collections.abc import Sequence

from prometheus_client import Counter
from sqlalchemy import Connection, Engine, delete, insert, select

from nearfeed_contracts.errors import BackendUnavailableError
from nearfeed_contracts.event_log import EventLog, Record
from nearfeed_contracts.events import Event
from nearfeed_contracts.tables import outbox
from nearfeed_contracts.topics import record_of
from nearfeed_runtime.sql import reading, writing

RELAYED = Counter("nearfeed_outbox_relayed_total", "Changes that the relay has put on the log.")
_BATCH = 500
_POLL_SECONDS = 0.1
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
    if rows:
        transaction.execute(insert(outbox), rows)


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
        while not stop.is_set():
            try:
                moved = self.run_once()
            except BackendUnavailableError:
                stop.wait(_RETRY_SECONDS)
                continue
            if not moved:
                self._wake.wait(_POLL_SECONDS)
                self._wake.clear()

    def run_once(self) -> int:
        """Moves one batch; returns how many changes it held."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.id).limit(_BATCH)).all()
        if not rows:
            return 0
        self._log.append([Record(row.topic, row.key, row.value, row.partition_key) for row in rows])
        with writing(self._engine) as transaction:
            transaction.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))
        RELAYED.inc(len(rows))
        return len(rows)
