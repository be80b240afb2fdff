"""The port EventLog on a Kafka cluster.

The producer is idempotent and waits for all in-sync replicas. Errors name the setting; every call
comes back within seconds, whatever the cluster does.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError
from kafka.partitioner.default import murmur2

from nearfeed_backends.errors import LOG
from nearfeed_backends.kafka.settings import KafkaSettings
from nearfeed_backends.kafka.subscription import KafkaSubscription
from nearfeed_backends.kafka.topics import KafkaTopics, unavailable
from nearfeed_contracts.event_log import LogUnavailableError, Record, TopicPartition

_CONNECT_MS = 5_000
_REQUEST_MS = 4_000
_DELIVERY_MS = 8_000
_GRACE_SECONDS = 1.0


class KafkaLog:
    """EventLog on the cluster of `settings`. Safe for use by several threads.

    Raises LogUnavailableError where no broker answers.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._closed = False
        self._subscriptions: list[KafkaSubscription] = []
        self._making = threading.Lock()
        try:
            self._topics = KafkaTopics(settings)
            self._producer: KafkaProducer | None = _make_producer(settings)
        except KafkaError as error:
            raise unavailable(settings, "does not answer", error) from error

    def append(self, records: Sequence[Record]) -> None:
        """Returns when every record is acknowledged by all in-sync replicas.

        Raises LogUnavailableError within about ten seconds; what was sent may be on the log then.
        """
        self._check_open()
        if not records:
            return
        names = {record.topic for record in records}
        producer = self._ready_producer()
        try:
            self._topics.ensure(names)
            _await_all([_send(producer, record) for record in records])
        except UnknownTopicOrPartitionError as error:
            self._topics.forget(names)
            raise unavailable(self._settings, "lost a topic", error) from error
        except KafkaError as error:
            self._give_up(producer)
            raise unavailable(self._settings, "does not take records now", error) from error

    def subscribe(
        self, topics: Sequence[str], group: str, positions: Callable[[TopicPartition], int]
    ) -> KafkaSubscription:
        self._check_open()
        subscription = KafkaSubscription(self._settings, self._topics, topics, group, positions)
        self._subscriptions.append(subscription)
        return subscription

    def end_offsets(self, topic: str) -> dict[int, int]:
        """The offset after the last message of each partition; {} for an unknown topic."""
        self._check_open()
        try:
            return self._topics.ends(topic)
        except KafkaError as error:
            raise unavailable(self._settings, "does not answer", error) from error

    def maintain(self) -> None:
        """Does nothing: the cluster applies retention and compaction by itself."""

    def close(self) -> None:
        """Wakes who polls; the log cannot be used any more."""
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
        if self._producer is not None:
            _end(self._producer, _GRACE_SECONDS)
        self._topics.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LogUnavailableError(f"{LOG}: the log at {self._settings.address} is closed.")

    def _ready_producer(self) -> KafkaProducer:
        if self._producer is not None:
            return self._producer
        try:
            if not self._making.acquire(timeout=_CONNECT_MS / 1000):
                raise KafkaTimeoutError("another append waits for it already")
            try:
                self._producer = self._producer or _make_producer(self._settings)
                return self._producer
            finally:
                self._making.release()
        except KafkaError as error:
            raise unavailable(self._settings, "does not answer", error) from error

    def _give_up(self, producer: KafkaProducer) -> None:
        """An idempotent producer that lost track of a record may take no other: the next one is fresh."""
        if self._producer is producer:
            self._producer = None
        _end(producer, 0)


def partition_of(record: Record, partitions: int) -> int:
    """Where Kafka's own clients put the record's partition key: murmur2, without the sign."""
    key = record.key if record.partition_key is None else record.partition_key
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def _send(producer: KafkaProducer, record: Record) -> Any:
    partitions = sorted(producer.partitions_for(record.topic))
    chosen = partition_of(record, len(partitions))
    return producer.send(record.topic, record.value, record.key.encode(), partition=partitions[chosen])


def _end(producer: KafkaProducer, seconds: float) -> None:
    try:
        producer.close(timeout=seconds)
    except KafkaError:
        # Its close gives up where records wait, and leaves its thread.
        producer._sender.force_close()


def _await_all(sent: Sequence[Any]) -> None:
    deadline = time.monotonic() + _DELIVERY_MS / 1000 + _GRACE_SECONDS
    for future in sent:
        future.get(timeout=max(0.0, deadline - time.monotonic()))


def _make_producer(settings: KafkaSettings) -> KafkaProducer:
    return KafkaProducer(
        bootstrap_servers=list(settings.servers),
        bootstrap_timeout_ms=_CONNECT_MS,
        enable_idempotence=True,
        acks="all",
        request_timeout_ms=_REQUEST_MS,
        delivery_timeout_ms=_DELIVERY_MS,
        max_block_ms=_REQUEST_MS,
        reconnect_backoff_max_ms=500,
        allow_auto_create_topics=False,
        **settings.client,
    )
