"""Nearfeed's topics and groups under a prefix, so that several installations may share a cluster."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nearfeed_contracts.event_log import DEAD_SUFFIX, EventLog, Message, Record, Subscription, TopicPartition
from nearfeed_contracts.topics import TOPICS


class PrefixedLog:
    """EventLog that puts `prefix` before the names of Nearfeed's own topics and of its groups.

    Topics that are not Nearfeed's, such as an app's own, keep their names.
    """

    def __init__(self, log: EventLog, prefix: str) -> None:
        self._log = log
        self._prefix = prefix

    def append(self, records: Sequence[Record]) -> None:
        self._log.append([replace(record, topic=prefixed(record.topic, self._prefix)) for record in records])

    def subscribe(
        self, topics: Sequence[str], group: str, positions: Callable[[TopicPartition], int]
    ) -> Subscription:
        def position(source: TopicPartition) -> int:
            return positions(source._replace(topic=bare(source.topic, self._prefix)))

        names = [prefixed(topic, self._prefix) for topic in topics]
        inner = self._log.subscribe(names, self._prefix + group, position)
        return _PrefixedSubscription(inner, self._prefix)

    def end_offsets(self, topic: str) -> dict[int, int]:
        return self._log.end_offsets(prefixed(topic, self._prefix))

    def maintain(self) -> None:
        self._log.maintain()

    def close(self) -> None:
        self._log.close()


class _PrefixedSubscription:
    def __init__(self, subscription: Subscription, prefix: str) -> None:
        self._subscription = subscription
        self._prefix = prefix

    def poll(self, max_records: int, timeout: float) -> list[Message]:
        messages = self._subscription.poll(max_records, timeout)
        return [replace(message, topic=bare(message.topic, self._prefix)) for message in messages]

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._subscription.commit(
            {
                source._replace(topic=prefixed(source.topic, self._prefix)): at
                for source, at in offsets.items()
            }
        )

    def rejoin(self) -> None:
        self._subscription.rejoin()

    def close(self) -> None:
        self._subscription.close()


def prefixed(topic: str, prefix: str) -> str:
    """The name on the cluster of a topic that Nearfeed knows by `topic`."""
    return prefix + topic if topic.removesuffix(DEAD_SUFFIX) in TOPICS else topic


def bare(name: str, prefix: str) -> str:
    """The inverse of `prefixed`."""
    topic = name.removeprefix(prefix)
    return topic if topic.removesuffix(DEAD_SUFFIX) in TOPICS else name
