"""How far the consumer groups are behind the ends of the topics."""

from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.tables import positions
from nearfeed_contracts.topics import TOPICS


@dataclass(frozen=True)
class TopicLag:
    """A topic's messages so far (offsets, summed over partitions), and by group how many it has before it."""

    topic: str
    end: int
    groups: dict[str, int] = field(default_factory=dict)


def topic_lags(connection: Connection, log: EventLog) -> list[TopicLag]:
    """Every topic of Nearfeed and of the app's own that are read. Raises LogUnavailableError."""
    stored: dict[str, dict[str, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in connection.execute(select(positions)):
        stored[row.topic][row.consumer_group][row.partition] = row.next_offset
    return [
        _lag(topic, log.end_offsets(topic), stored[topic])
        for topic in [*TOPICS, *sorted(set(stored) - set(TOPICS))]
    ]


def _lag(topic: str, ends: dict[int, int], groups: dict[str, dict[int, int]]) -> TopicLag:
    behind = {
        group: sum(max(end - offsets.get(partition, 0), 0) for partition, end in ends.items())
        for group, offsets in sorted(groups.items())
    }
    return TopicLag(topic, sum(ends.values()), behind)
