"""The consume loop: a batch of messages, its effects and its position in one SQL transaction.

The position moves by compare-and-set on the one that was read, so that a consumer that lost its
partition cannot write: its transaction finds no row to change, rolls back and rejoins.
Effects elsewhere are idempotent and flushed by their handlers, before the position is stored.
"""

import base64
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

import orjson
import structlog
from prometheus_client import Counter
from pydantic import ValidationError
from sqlalchemy import Connection, Engine, insert, select, update

from nearfeed_contracts.errors import BackendUnavailableError
from nearfeed_contracts.event_log import DEAD_SUFFIX, EventLog, Message, Record, Subscription, TopicPartition
from nearfeed_contracts.events import Event, ItemDeleted, UnreadableEventError, decode, describe_fault
from nearfeed_contracts.tables import positions
from nearfeed_contracts.topics import ITEMS
from nearfeed_runtime.sql import committed, read_connection

Handler = Callable[[Connection, Sequence[Event]], None]
Handlers = Mapping[type[Event], Sequence[Handler]]
Read = Callable[[Message], Sequence[Event]]

logger = structlog.get_logger(__name__)
EVENTS = Counter("nearfeed_events_consumed_total", "Events whose effects are committed.", ["group", "type"])
DEAD = Counter("nearfeed_events_dead_total", "Messages that could not be read.", ["topic"])
FAILURES = Counter("nearfeed_consume_failures_total", "Batches that were rolled back.", ["group", "error"])
_RETRY_SECONDS = 1.0
_POLL_SECONDS = 0.5


def events_of(message: Message) -> Sequence[Event]:
    """The event of a message; a null value on `items` deletes the post, elsewhere it has no effect."""
    if message.value is not None:
        return [decode(message.value)]
    if message.topic == ITEMS.name:
        try:
            return [ItemDeleted(item_id=message.key)]
        except ValidationError as error:
            raise UnreadableEventError(f"key: {describe_fault(error)}") from None
    return []


class LostPartitionError(Exception):
    """Another consumer has moved the position since it was read."""


class Consumer:
    """One member of a consumer group that turns events into effects by a table of handlers.

    A handler gets a run of events of one type, in order, inside the transaction of the batch.
    A type without handlers is passed over. Where effects are the same in any order, `in_order=False` makes
    one run of all events of a type in a batch. `read` tells which events a message is, and raises
    UnreadableEventError for one that goes to the dead letters. After a batch that is not full, messages may
    gather for `linger` seconds, so that fewer transactions are committed.
    """

    def __init__(
        self,
        engine: Engine,
        log: EventLog,
        group: str,
        topics: Sequence[str],
        handlers: Handlers,
        *,
        read: Read = events_of,
        batch: int = 500,
        in_order: bool = True,
        linger: float = 0.0,
    ) -> None:
        self._engine = engine
        self._log = log
        self._group = group
        self._topics = topics
        self._handlers = handlers
        self._read = read
        self._batch = batch
        self._in_order = in_order
        self._linger = linger
        self._subscription: Subscription = log.subscribe(topics, group, self._stored_position)

    def run(self, stop: threading.Event) -> None:
        """Consumes until `stop` is set; a failing back end is tried again, nothing is skipped."""
        while not stop.is_set():
            try:
                if 0 < self.run_once(_POLL_SECONDS) < self._batch:
                    stop.wait(self._linger)
            except LostPartitionError:
                logger.info("partition lost", group=self._group)
                FAILURES.labels(self._group, "LostPartitionError").inc()
                self._subscription.rejoin()
            except Exception as error:
                FAILURES.labels(self._group, type(error).__name__).inc()
                expected = isinstance(error, BackendUnavailableError)
                logger.warning(
                    "batch rolled back", group=self._group, error=str(error), exc_info=not expected
                )
                self._subscription.rejoin()
                stop.wait(_RETRY_SECONDS)

    def run_once(self, timeout: float) -> int:
        """Takes and commits a batch; returns how many messages (0: none came within `timeout` seconds)."""
        messages = self._subscription.poll(self._batch, timeout)
        if not messages:
            return 0
        events, dead = _read_all(messages, self._read)
        if dead:
            self._log.append(dead)
        moved = committed(self._engine, lambda transaction: self._apply(transaction, messages, events))
        self._subscription.commit(moved)
        for event in events:
            EVENTS.labels(self._group, event.type).inc()  # type: ignore[attr-defined]
        return len(messages)

    def _apply(
        self, transaction: Connection, messages: Sequence[Message], events: Sequence[Event]
    ) -> dict[TopicPartition, int]:
        moved = self._move_positions(transaction, messages)
        in_turn = events if self._in_order else sorted(events, key=lambda event: type(event).__name__)
        for kind, run in groupby(in_turn, type):
            batch = list(run)
            for handle in self._handlers.get(kind, ()):
                handle(transaction, batch)
        return moved

    def lag(self) -> int:
        """How many offsets lie between the group's stored positions and the end of its topics."""
        with read_connection(self._engine) as connection:
            return sum(
                max(0, end - stored_position(connection, self._group, TopicPartition(topic, partition)))
                for topic in self._topics
                for partition, end in self._log.end_offsets(topic).items()
            )

    def close(self) -> None:
        self._subscription.close()

    def _stored_position(self, source: TopicPartition) -> int:
        with read_connection(self._engine) as connection:
            return stored_position(connection, self._group, source)

    def _move_positions(
        self, transaction: Connection, messages: Iterable[Message]
    ) -> dict[TopicPartition, int]:
        first: dict[TopicPartition, int] = {}
        after: dict[TopicPartition, int] = {}
        for message in messages:
            first.setdefault(message.source, message.offset)
            after[message.source] = message.offset + 1
        for source, offset in after.items():
            _compare_and_set(transaction, self._group, source, first[source], offset)
        return after


def stored_position(connection: Connection, group: str, source: TopicPartition) -> int:
    """The next offset that the group has not committed; 0 at first."""
    found = connection.scalar(select(positions.c.next_offset).where(*_key(group, source)))
    return int(found) if found is not None else 0


def _compare_and_set(
    transaction: Connection, group: str, source: TopicPartition, read_at: int, after: int
) -> None:
    stored = stored_position(transaction, group, source)
    if stored > read_at:
        raise LostPartitionError(source)
    if stored == 0 and not _has_row(transaction, group, source):
        transaction.execute(
            insert(positions).values(
                consumer_group=group, topic=source.topic, partition=source.partition, next_offset=after
            )
        )
        return
    moved = transaction.execute(
        update(positions)
        .where(*_key(group, source), positions.c.next_offset == stored)
        .values(next_offset=after)
    )
    if moved.rowcount != 1:
        raise LostPartitionError(source)


def _has_row(transaction: Connection, group: str, source: TopicPartition) -> bool:
    return transaction.scalar(select(positions.c.topic).where(*_key(group, source))) is not None


def _key(group: str, source: TopicPartition) -> tuple:  # type: ignore[type-arg]
    return (
        positions.c.consumer_group == group,
        positions.c.topic == source.topic,
        positions.c.partition == source.partition,
    )


def _read_all(messages: Iterable[Message], read: Read) -> tuple[list[Event], list[Record]]:
    events: list[Event] = []
    dead: list[Record] = []
    for message in messages:
        try:
            events.extend(read(message))
        except UnreadableEventError as error:
            DEAD.labels(message.topic).inc()
            logger.warning("unreadable event", topic=message.topic, offset=message.offset, reason=str(error))
            dead.append(_dead_record(message, str(error)))
    return events, dead


def _dead_record(message: Message, reason: str) -> Record:
    body = {
        "reason": reason,
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "value": base64.b64encode(message.value or b"").decode(),
    }
    return Record(message.topic + DEAD_SUFFIX, message.key, orjson.dumps(body))
