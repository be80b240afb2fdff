"""How consumers read the embedded log."""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from nearfeed_backends.embedded.log_file import end_of, log_connection
from nearfeed_backends.errors import LOG, OtherLogError
from nearfeed_contracts.event_log import LogUnavailableError, Message, TopicPartition

# Appends of other processes ring no bell in this one: it looks for them, often while some come.
# How often another process's appends are looked for, by the seconds without a message.
_LOOKS = ((1.0, 0.005), (10.0, 0.05), (float("inf"), 0.2))
_READ = (
    "SELECT offset, key, value, timestamp FROM messages "
    "WHERE topic = ? AND offset >= ? ORDER BY offset LIMIT ?"
)


class Bell:
    """Tells those who wait that something was appended, or that the log was closed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.rings = 0
        self.closed = False

    def ring(self, *, close: bool = False) -> None:
        with self._condition:
            self.rings += 1
            self.closed = self.closed or close
            self._condition.notify_all()

    def wait(self, heard: int, timeout: float) -> None:
        """Returns when it rang after the first `heard` times, or after `timeout` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self.rings != heard, timeout)


class EmbeddedSubscription:
    """Subscription to topics of the log in the file `path`, with a connection of its own."""

    def __init__(
        self,
        path: str,
        bell: Bell,
        topics: Sequence[str],
        group: str,
        positions: Callable[[TopicPartition], int],
    ) -> None:
        self._bell = bell
        self._topics = list(topics)
        self._group = group
        self._positions = positions
        self._next: dict[str, int] = {}
        self._connection = log_connection(path)
        self._reading = threading.Lock()
        self._closed = False
        self._empty_at: tuple[int, int] | None = None
        self._read_at = time.monotonic()

    def poll(self, max_records: int, timeout: float) -> list[Message]:
        """Messages in order by topic; topics take turns in coming first.

        Raises LogUnavailableError, and OtherLogError where the group's position lies after the end.
        """
        deadline = time.monotonic() + timeout
        while True:
            heard = self._bell.rings
            messages = self._read_if_changed(max_records, heard)
            left = deadline - time.monotonic()
            if messages or left <= 0:
                return messages
            quiet = time.monotonic() - self._read_at
            self._bell.wait(heard, min(left, next(pause for seconds, pause in _LOOKS if quiet < seconds)))
            if self._closed or self._bell.closed:
                return []

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Does nothing: positions in SQL and `end_offsets` tell the lag of this log."""

    def rejoin(self) -> None:
        self._next.clear()
        self._empty_at = None

    def close(self) -> None:
        with self._reading:
            self._closed = True
            self._connection.close()

    def _read_if_changed(self, max_records: int, heard: int) -> list[Message]:
        """Nothing where the file, and the bell that rang `heard` times, are as when nothing was there."""
        with self._reading:
            if self._closed:
                raise LogUnavailableError(f"{LOG}: the subscription of {self._group} is closed.")
            try:
                state = (heard, self._file_version())
                if state == self._empty_at:
                    return []
                messages = self._read(max_records)
            except sqlite3.Error as error:
                raise LogUnavailableError(f"{LOG}: the log cannot be read now ({error}).") from error
        if messages:
            self._empty_at, self._read_at = None, time.monotonic()
        else:
            self._empty_at = state
        return messages

    def _file_version(self) -> int:
        """Another number after each commit by another connection, of any process."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _read(self, max_records: int) -> list[Message]:
        messages: list[Message] = []
        for topic in self._topics:
            messages += self._read_topic(topic, max_records - len(messages))
        self._topics = self._topics[1:] + self._topics[:1]
        return messages

    def _read_topic(self, topic: str, limit: int) -> list[Message]:
        if topic not in self._next:
            self._next[topic] = self._start(topic)
        rows = self._connection.execute(_READ, (topic, self._next[topic], limit)).fetchall()
        if rows:
            self._next[topic] = rows[-1][0] + 1
        return [Message(topic, 0, *row) for row in rows]

    def _start(self, topic: str) -> int:
        position = self._positions(TopicPartition(topic, 0))
        end = end_of(self._connection, topic) or 0
        if position > end:
            raise OtherLogError.of(topic, end, self._group, position)
        return position
