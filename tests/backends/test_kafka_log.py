"""What the contract does not ask of every log: topics on the cluster, members of a group, clamping."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import kafka
import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from nearfeed_backends.errors import OtherLogError
from nearfeed_backends.kafka.settings import read_url
from nearfeed_backends.opening import open_log
from nearfeed_contracts.event_log import EventLog, Message, Record, Subscription, TopicPartition
from servers import kafka_url

pytestmark = pytest.mark.server


@pytest.fixture
def log() -> Iterator[EventLog]:
    log = open_log(kafka_url(partitions=4))
    yield log
    log.close()


@pytest.fixture
def admin() -> Iterator[kafka.KafkaAdminClient]:
    admin = kafka.KafkaAdminClient(bootstrap_servers=read_url(kafka_url()).servers[0])
    yield admin
    admin.close()


@pytest.fixture
def topic() -> str:
    return f"topic-{uuid.uuid4().hex}"


def take(subscriptions: list[Subscription], number: int) -> list[list[Message]]:
    """Polls in turn until `number` messages came to all of them together, or a minute has passed."""
    taken: list[list[Message]] = [[] for _ in subscriptions]
    deadline = time.monotonic() + 60
    while sum(map(len, taken)) < number and time.monotonic() < deadline:
        for subscription, messages in zip(subscriptions, taken, strict=True):
            messages += subscription.poll(500, 0.2)
    return taken


def test_topics_have_the_partitions_asked_for_and_the_rule_of_their_kind(
    log: EventLog, admin: kafka.KafkaAdminClient
) -> None:
    log.append([Record("items.dead", "k", b"")])
    assert set(log.end_offsets("items.dead")) == {0, 1, 2, 3}
    asked = ConfigResource(ConfigResourceType.TOPIC, "items.dead")
    found = admin.describe_configs([asked])["topic"]["items.dead"]
    assert found["segment.ms"]["value"] == "86400000"


def test_two_members_share_the_partitions_and_hand_them_over(log: EventLog, topic: str) -> None:
    done: dict[TopicPartition, int] = {}
    one, two = (log.subscribe([topic], topic, lambda source: done.get(source, 0)) for _ in range(2))

    def consume(member: Subscription) -> int:
        """Takes what is there; a message that was taken before, or left out, fails."""
        messages = member.poll(500, 0.2)
        for message in messages:
            assert message.offset == done.get(message.source, 0)
            done[message.source] = message.offset + 1
        return len(messages)

    def tell() -> int:
        log.append([Record(topic, f"k{i}", b"") for i in range(100)])
        return 100

    told, seen = 0, [0, 0]
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(2) as threads:
        while not all(seen) and time.monotonic() < deadline:
            told += tell()
            counts = threads.map(consume, (one, two))
            seen = [before + count for before, count in zip(seen, counts, strict=True)]
    assert all(seen)
    one.close()
    told += tell()
    while sum(done.values()) < told and time.monotonic() < deadline + 60:
        consume(two)
    assert sum(done.values()) == told


def test_a_position_that_retention_deleted_is_read_from_the_first_record(
    log: EventLog, topic: str, admin: kafka.KafkaAdminClient
) -> None:
    log.append([Record(topic, "k", str(i).encode()) for i in range(10)])
    [partition] = [number for number, end in log.end_offsets(topic).items() if end]
    admin.delete_records({kafka.TopicPartition(topic, partition): 4})
    [messages] = take([log.subscribe([topic], topic, lambda _: 0)], 6)
    assert [message.offset for message in messages] == [4, 5, 6, 7, 8, 9]


def test_a_position_after_the_end_is_another_log(log: EventLog, topic: str) -> None:
    log.append([Record(topic, "k", b"")])
    subscription = log.subscribe([topic], topic, lambda _: 7)
    with pytest.raises(OtherLogError, match=rf"topic {topic} ends at \d, but group {topic} has read up to 7"):
        take([subscription], 1)


def test_positions_that_cannot_be_read_lose_no_message(log: EventLog, topic: str) -> None:
    log.append([Record(topic, str(i), b"") for i in range(50)])
    failures = iter([True, True, False])

    def positions(_: TopicPartition) -> int:
        if next(failures, False):
            raise ConnectionError("the database restarts")
        return 0

    subscription = log.subscribe([topic], topic, positions)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            take([subscription], 50)
    [messages] = take([subscription], 50)
    assert len(messages) == 50
