"""The port EventLog in one SQLite file, for one process; every topic has the one partition 0.

An append is on disk when it returns. Appends that wait for the disk at the same time are committed
together. Offsets of a topic only grow, and a deleted one is not used again.

Members of one group are not told apart: each gets all messages of its topics, and the
compare-and-set on the group's positions lets one of them commit.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import count
from weakref import WeakSet

from nearfeed_backends.embedded.log_file import end_of, log_connection
from nearfeed_backends.embedded.log_retention import apply_retention
from nearfeed_backends.embedded.log_subscription import Bell, EmbeddedSubscription
from nearfeed_backends.errors import LOG
from nearfeed_contracts.event_log import LogUnavailableError, Record, TopicPartition
from nearfeed_contracts.fields import now_micros

_WRITE = "INSERT INTO messages (topic, offset, key, value, timestamp) VALUES (?, ?, ?, ?, ?)"
_ADVANCE = (
    "INSERT INTO ends (topic, next_offset) VALUES (?, ?) "
    "ON CONFLICT DO UPDATE SET next_offset = next_offset + excluded.next_offset RETURNING next_offset"
)


class _Append:
    """One caller's records on their way to the disk.

    `turn` is free once they are there, or could not be written (`error`), or where this caller is to commit
    what waits (`leads`).
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.leads = False
        self.error: Exception | None = None
        self.turn = threading.Lock()
        self.turn.acquire()


class EmbeddedLog:
    """EventLog in the SQLite file `path`; `clock` gives microseconds since 1970.

    Safe for use by several threads. Raises BackendSettingError if the file cannot be used.
    """

    def __init__(self, path: str, *, clock: Callable[[], int] = now_micros) -> None:
        self._path = path
        self._clock = clock
        self._bell = Bell()
        self._writing = threading.Lock()
        self._queueing = threading.Lock()
        self._queue: deque[_Append] = deque()
        self._committing = False
        self._subscriptions: WeakSet[EmbeddedSubscription] = WeakSet()
        self._writer = log_connection(path)

    def append(self, records: Sequence[Record]) -> None:
        """Raises LogUnavailableError; ValueError for a key that is no text."""
        if not records:
            return
        for record in records:
            record.key.encode()
        mine = _Append(records)
        with self._queueing:
            self._queue.append(mine)
            mine.leads, self._committing = not self._committing, True
        if not mine.leads:
            self._await_turn(mine)
        if mine.leads:
            self._commit_queue()
        if mine.error is not None:
            reason = f"{LOG}: the log {self._path} cannot be written now ({mine.error})."
            raise LogUnavailableError(reason) from mine.error

    def subscribe(
        self, topics: Sequence[str], group: str, positions: Callable[[TopicPartition], int]
    ) -> EmbeddedSubscription:
        self._check_open()
        subscription = EmbeddedSubscription(self._path, self._bell, topics, group, positions)
        self._subscriptions.add(subscription)
        return subscription

    def end_offsets(self, topic: str) -> dict[int, int]:
        """{0: the offset after the last message}; {} for a topic that nobody appended to."""
        with self._writing:
            self._check_open()
            end = end_of(self._writer, topic)
        return {} if end is None else {0: end}

    def maintain(self) -> None:
        """Deletes what retention and compaction let go."""
        self._check_open()
        apply_retention(self._path, self._clock())

    def close(self) -> None:
        """Wakes who polls; the log cannot be used any more."""
        self._bell.ring(close=True)
        for subscription in list(self._subscriptions):
            subscription.close()
        with self._writing:
            self._writer.close()

    def _check_open(self) -> None:
        if self._bell.closed:
            raise LogUnavailableError(f"{LOG}: the log {self._path} is closed.")

    def _await_turn(self, mine: _Append) -> None:
        try:
            mine.turn.acquire()
        except BaseException:
            # An interrupt of the main thread: what nobody commits yet is taken back.
            with self._queueing:
                if mine in self._queue and not mine.leads:
                    self._queue.remove(mine)
            if mine.leads:
                self._commit_queue()
            raise

    def _commit_queue(self) -> None:
        """Commits all that waits, this caller's among it, and hands on to one of those who came meanwhile."""
        with self._queueing:
            batch = list(self._queue)
            self._queue.clear()
        error: Exception | None = InterruptedError("interrupted")
        try:
            with self._writing:
                self._write([record for append in batch for record in append.records])
            error = None
        except Exception as raised:
            error = raised
        finally:
            for append in batch:
                append.error = error
            self._hand_on(batch)
        self._bell.ring()

    def _hand_on(self, done: Sequence[_Append]) -> None:
        with self._queueing:
            following = self._queue[0] if self._queue else None
            self._committing = following is not None
            if following is not None:
                following.leads = True
        for append in (*([] if following is None else [following]), *done):
            append.turn.release()

    def _write(self, records: Sequence[Record]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._insert(records, self._clock())
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _insert(self, records: Sequence[Record], now: int) -> None:
        offsets = {}
        for topic, number in Counter(record.topic for record in records).items():
            end = self._writer.execute(_ADVANCE, (topic, number)).fetchone()[0]
            offsets[topic] = count(end - number)
        rows = [(each.topic, next(offsets[each.topic]), each.key, each.value, now) for each in records]
        self._writer.executemany(_WRITE, rows)
