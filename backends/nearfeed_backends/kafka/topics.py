"""The topics on a Kafka cluster: made when first used, by the rules of the contracts."""

import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta

from kafka import KafkaAdminClient, OffsetSpec, TopicPartition
from kafka.errors import KafkaError, TopicAlreadyExistsError

from nearfeed_backends.kafka.prefix import bare
from nearfeed_backends.kafka.settings import KafkaSettings
from nearfeed_contracts.event_log import DEAD_SUFFIX, LogUnavailableError
from nearfeed_contracts.topics import READER_RETENTION, TOPICS, Topic

_SEGMENT = timedelta(days=1)
_SLACK = timedelta(hours=1)
_REQUEST_MS = 5_000


class KafkaTopics:
    """Makes topics and reads where they begin and end. Thread-safe; its errors are the driver's."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._there: set[str] = set()
        self._admin = KafkaAdminClient(
            bootstrap_servers=list(settings.servers),
            bootstrap_timeout_ms=_REQUEST_MS,
            request_timeout_ms=_REQUEST_MS,
            reconnect_backoff_max_ms=500,
            **settings.client,
        )

    def ensure(self, names: Iterable[str]) -> None:
        """Makes those topics that are not there; one that is there is left as it is."""
        missing = set(names) - self._there
        if not missing:
            return
        with self._lock:
            absent = missing - self._partitions_of(sorted(missing)).keys()
            for name in sorted(absent):
                self._make(name)
            if absent:
                self._admin.wait_for_topics(sorted(absent), timeout_ms=_REQUEST_MS)
            self._there |= missing

    def forget(self, names: Iterable[str]) -> None:
        """Looks anew whether topics are there."""
        with self._lock:
            self._there -= set(names)

    def bounds(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The first offset that is kept and the one after the last."""
        wanted = list(sources)
        with self._lock:
            first = self._offsets(wanted, OffsetSpec.EARLIEST)
            after = self._offsets(wanted, OffsetSpec.LATEST)
        return {source: (first[source], after[source]) for source in wanted}

    def ends(self, topic: str) -> dict[int, int]:
        with self._lock:
            partitions = self._partitions_of([topic]).get(topic, [])
            sources = [TopicPartition(topic, partition) for partition in partitions]
            return {
                source.partition: end for source, end in self._offsets(sources, OffsetSpec.LATEST).items()
            }

    def close(self) -> None:
        self._admin.close()

    def _offsets(self, sources: list[TopicPartition], which: OffsetSpec) -> dict[TopicPartition, int]:
        if not sources:
            return {}
        specs = dict.fromkeys(sources, which)
        found = self._admin.list_partition_offsets(specs, timeout_ms=_REQUEST_MS)
        return {source: found[source].offset for source in sources}

    def _partitions_of(self, names: list[str]) -> dict[str, list[int]]:
        return {
            topic["name"]: sorted(partition["partition_index"] for partition in topic["partitions"])
            for topic in self._admin.describe_topics(names)
            if topic["partitions"]
        }

    def _make(self, name: str) -> None:
        options = {
            "num_partitions": self._settings.partitions,
            "replication_factor": self._settings.replication,
            "configs": configuration_of(bare(name, self._settings.prefix)),
        }
        with suppress(TopicAlreadyExistsError):
            self._admin.create_topics({name: options}, timeout_ms=_REQUEST_MS)


def configuration_of(name: str) -> dict[str, str]:
    """The cluster's settings for a topic, from its rule in the contracts.

    Kafka deletes whole segments by their newest record, so what must be gone after 30 days lies in
    segments of a day that go a day and an hour earlier. What is compacted lets go of former records, which
    name authors, in the same time.
    """
    rule = Topic(name, retention=READER_RETENTION) if name.endswith(DEAD_SUFFIX) else TOPICS.get(name)
    if rule is None:
        return {}
    if rule.retention is None:
        return _COMPACTED if rule.compacted else {"retention.ms": "-1"}
    return {
        "cleanup.policy": "compact,delete" if rule.compacted else "delete",
        "retention.ms": _milliseconds(rule.retention),
        "segment.ms": str(_SEGMENT // timedelta(milliseconds=1)),
    }


def _milliseconds(kept: timedelta) -> str:
    return str((kept - _SEGMENT - _SLACK) // timedelta(milliseconds=1))


_COMPACTED = {"cleanup.policy": "compact", "max.compaction.lag.ms": _milliseconds(READER_RETENTION)}


def unavailable(settings: KafkaSettings, what: str, error: KafkaError) -> LogUnavailableError:
    """The error for a cluster that does not do what it was asked."""
    cause = str(error) or type(error).__name__
    return LogUnavailableError(
        f"NEARFEED_LOG_URL: Kafka at {settings.address} {what} ({cause}); start it, or correct the address."
    )
