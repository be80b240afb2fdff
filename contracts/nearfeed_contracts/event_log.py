"""The port EventLog: an append-only log of topics with partitions and consumer groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nearfeed_contracts.errors import BackendUnavailableError

DEAD_SUFFIX = ".dead"


class TopicPartition(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Record:
    """What a producer appends. A `value` of None deletes its key from a compacted topic.

    `partition_key` chooses the partition where `key` does not (topic item-vectors).
    """

    topic: str
    key: str
    value: bytes | None
    partition_key: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A record as a consumer sees it; `timestamp` is in microseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes | None
    timestamp: int

    @property
    def source(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class LogUnavailableError(BackendUnavailableError):
    """The log cannot be reached now: nothing of the call was accepted for sure."""


class Subscription(Protocol):
    """One member of a consumer group. Not safe for use by several threads, `wake` excepted."""

    def poll(self, max_records: int, timeout: float) -> list[Message]:
        """Up to `max_records` messages, in order by partition; waits `timeout` seconds for the first.

        After an assignment the first offset is the one that `positions` of `subscribe` named.
        """
        ...

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Stores next offsets for lag tools; the truth is in SQL, so a failure here is no error."""
        ...

    def rejoin(self) -> None:
        """Forgets the assignment and asks anew, so that `positions` is read again."""
        ...

    def close(self) -> None: ...


class EventLog(Protocol):
    """A durable log. An append is on the log, in order per key, once the call returns."""

    def append(self, records: Sequence[Record]) -> None:
        """Raises LogUnavailableError."""
        ...

    def subscribe(
        self, topics: Sequence[str], group: str, positions: Callable[[TopicPartition], int]
    ) -> Subscription: ...

    def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset after the last message of each partition; {} for an unknown topic."""
        ...

    def maintain(self) -> None:
        """Applies retention and compaction where the back end does not do so by itself."""
        ...

    def close(self) -> None: ...
