"""How consumers read Kafka: a member of a group whose positions are kept elsewhere."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import kafka
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata
from kafka.consumer.fetcher import ConsumerRecord
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError

from nearfeed_backends.errors import LOG, OtherLogError
from nearfeed_backends.kafka.settings import KafkaSettings
from nearfeed_backends.kafka.topics import KafkaTopics, unavailable
from nearfeed_contracts.event_log import LogUnavailableError, Message, TopicPartition

# The longest that a close waits for a poll.
_SLICE_SECONDS = 0.2
_CONNECT_MS = 5_000
_CLOSE_MS = 2_000
_JOIN_MS = 5_000


class KafkaSubscription:
    """Subscription to topics as a member of a group; connects at its first poll.

    A partition is read only after it was sought to the offset that `positions` names, so the offsets
    that are committed to Kafka decide nothing.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        admin: KafkaTopics,
        topics: Sequence[str],
        group: str,
        positions: Callable[[TopicPartition], int],
    ) -> None:
        self._settings = settings
        self._admin = admin
        self._topics = list(topics)
        self._group = group
        self._positions = positions
        self._sought = _Sought()
        self._consumer: KafkaConsumer | None = None
        self._polling = threading.Lock()
        self._closed = False

    def poll(self, max_records: int, timeout: float) -> list[Message]:
        """Messages in order by partition.

        Raises LogUnavailableError, and OtherLogError where the group's position lies after the end.
        """
        deadline = time.monotonic() + timeout
        with self._polling:
            if self._closed:
                raise LogUnavailableError(f"{LOG}: the subscription of {self._group} is closed.")
            while not self._closed:
                left = deadline - time.monotonic()
                messages = self._take(max_records, max(0.0, min(left, _SLICE_SECONDS)))
                if messages or left <= 0:
                    return messages
        return []

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tells Kafka how far the group is, as well as it can be told now."""
        if self._consumer is None:
            return
        told = {
            kafka.TopicPartition(*source): OffsetAndMetadata(offset, "", -1)
            for source, offset in offsets.items()
        }
        try:
            self._consumer.commit_async(told)
        except KafkaError:
            return

    def rejoin(self) -> None:
        """Every partition is sought anew before it is read again."""
        self._sought.sources.clear()

    def close(self) -> None:
        """Leaves the group, so that others have its partitions at once."""
        self._closed = True
        with self._polling:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)

    def _take(self, max_records: int, seconds: float) -> list[Message]:
        try:
            consumer = self._connected()
            _join(consumer)
            self._seek_new(consumer)
            fetched = consumer.poll(timeout_ms=round(seconds * 1000), max_records=max_records)
        except KafkaError as error:
            self._sought.sources.clear()
            raise unavailable(self._settings, "cannot be read now", error) from error
        except BaseException:
            self._sought.sources.clear()
            raise
        return [
            _message(record)
            for source, records in fetched.items()
            if source in self._sought.sources
            for record in records
        ]

    def _connected(self) -> KafkaConsumer:
        if self._consumer is None:
            self._admin.ensure(self._topics)
            consumer = _make_consumer(self._settings, self._group)
            for topic in self._topics:
                # Else the first join may know no partitions of a topic, and assign none of them for long.
                consumer.partitions_for_topic(topic)
            consumer.subscribe(self._topics, listener=self._sought)
            self._consumer = consumer
        return self._consumer

    def _seek_new(self, consumer: KafkaConsumer) -> None:
        """Seeks what was assigned since; what arrives of a partition before that is passed over."""
        new = (consumer.assignment() or set()) - self._sought.sources
        if not new:
            return
        for source, (first, end) in self._admin.bounds(new).items():
            position = self._positions(TopicPartition(source.topic, source.partition))
            if position > end:
                raise OtherLogError.of(source.topic, end, self._group, position)
            if source in consumer.assignment():
                consumer.seek(source, max(position, first))
                self._sought.sources.add(source)


class _Sought(ConsumerRebalanceListener):  # type: ignore[misc]
    """The partitions that were sought since they were assigned."""

    def __init__(self) -> None:
        self.sources: set[kafka.TopicPartition] = set()

    def on_partitions_assigned(self, assigned: Iterable[kafka.TopicPartition]) -> None:
        self.sources.difference_update(assigned)

    def on_partitions_revoked(self, revoked: Iterable[kafka.TopicPartition]) -> None:
        self.sources.difference_update(revoked)


def _join(consumer: KafkaConsumer) -> None:
    """Waits for a rebalance to end, where there is one.

    The client's own poll forgets a join that ends after its timeout and begins another, so that members
    who poll for short times may keep each other from ever agreeing.
    """
    coordinator = consumer._coordinator
    if coordinator.need_rejoin():
        coordinator.ensure_active_group(timeout_ms=_JOIN_MS)


def _make_consumer(settings: KafkaSettings, group: str) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=list(settings.servers),
        bootstrap_timeout_ms=_CONNECT_MS,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=[CooperativeStickyAssignor],
        allow_auto_create_topics=False,
        reconnect_backoff_max_ms=500,
        request_timeout_ms=10_000,
        **{"session_timeout_ms": 10_000, "heartbeat_interval_ms": 3_000, **settings.member},
        **settings.client,
    )


def _message(record: ConsumerRecord) -> Message:
    key = (record.key or b"").decode(errors="replace")
    return Message(record.topic, record.partition, record.offset, key, record.value, record.timestamp * 1000)
