"""What holds for every EventLog; a new back end adds a class at the end."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pytest

from nearfeed_backends.opening import open_log
from nearfeed_contracts.errors import BackendUnavailableError
from nearfeed_contracts.event_log import EventLog, Message, Record, Subscription, TopicPartition
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.topics import INTERACTIONS, ITEMS, MEMBERSHIPS
from servers import kafka_url


def from_start(_: TopicPartition) -> int:
    return 0


def take(subscription: Subscription, number: int, *, batch: int = 500) -> list[Message]:
    """Polls until `number` messages came, or a minute has passed."""
    messages: list[Message] = []
    deadline = time.monotonic() + 60
    while len(messages) < number and time.monotonic() < deadline:
        messages += subscription.poll(batch, 0.5)
    return messages


class EventLogContract:
    """Subclasses give `log`, an empty log, and `topic`, the name of a topic that nobody used."""

    @pytest.fixture
    def log(self) -> Iterator[EventLog]:
        raise NotImplementedError

    @pytest.fixture
    def topic(self) -> str:
        return f"topic-{uuid.uuid4().hex}"

    def test_messages_are_what_was_appended(self, log: EventLog, topic: str) -> None:
        before = now_micros() // 1000 * 1000  # a log may keep milliseconds
        records = [
            Record(topic, "ключ/🙂", b"\x00\xff" * 10),
            Record(topic, "k", None),
            Record(topic, "k", b""),
        ]
        log.append(records)
        messages = take(log.subscribe([topic], "group", from_start), 3)
        by_key = sorted(messages, key=lambda message: (message.key, message.offset))
        assert [(m.topic, m.key, m.value) for m in by_key] == [
            (topic, "k", None),
            (topic, "k", b""),
            (topic, "ключ/🙂", b"\x00\xff" * 10),
        ]
        assert all(before <= message.timestamp <= now_micros() for message in messages)

    def test_messages_of_a_key_come_in_order(self, log: EventLog, topic: str) -> None:
        for start in range(0, 60, 7):
            log.append(
                [Record(topic, f"k{i % 5}", str(i).encode()) for i in range(start, min(60, start + 7))]
            )
        messages = take(log.subscribe([topic], "group", from_start), 60, batch=11)
        by_key = groupby(sorted(messages, key=lambda message: message.key), key=lambda message: message.key)
        for key, group in by_key:
            values = [int(message.value or b"") for message in group]
            assert values == [i for i in range(60) if f"k{i % 5}" == key]

    def test_offsets_grow_and_end_offsets_follow_them(self, log: EventLog, topic: str) -> None:
        assert log.end_offsets(topic) == {}
        log.append([Record(topic, str(i), b"") for i in range(20)])
        messages = take(log.subscribe([topic], "group", from_start), 20)
        assert len(messages) == 20
        ends = log.end_offsets(topic)
        for partition, group in groupby(
            sorted(messages, key=lambda m: m.partition), key=lambda m: m.partition
        ):
            offsets = [message.offset for message in group]
            assert offsets == sorted(set(offsets))
            assert offsets[-1] + 1 == ends[partition]

    def test_a_partition_key_decides_where_a_key_goes(self, log: EventLog, topic: str) -> None:
        log.append([Record(topic, f"space{i}/item", b"", partition_key="item") for i in range(20)])
        messages = take(log.subscribe([topic], "group", from_start), 20)
        assert len({message.partition for message in messages}) == 1

    def test_a_subscription_starts_where_positions_says(self, log: EventLog, topic: str) -> None:
        log.append([Record(topic, "k", str(i).encode()) for i in range(10)])
        first = take(log.subscribe([topic], "one", from_start), 10)
        start = {first[6].source: first[6].offset}
        rest = take(log.subscribe([topic], "two", lambda source: start.get(source, 0)), 4)
        assert rest == first[6:]

    def test_a_rejoin_asks_for_positions_again(self, log: EventLog, topic: str) -> None:
        log.append([Record(topic, "k", str(i).encode()) for i in range(10)])
        stored: dict[TopicPartition, int] = {}
        subscription = log.subscribe([topic], "group", lambda source: stored.get(source, 0))
        first = take(subscription, 10)
        stored[first[3].source] = first[3].offset
        assert subscription.poll(10, 0) == []
        subscription.rejoin()
        assert take(subscription, 7) == first[3:]

    def test_groups_are_independent(self, log: EventLog, topic: str) -> None:
        log.append([Record(topic, "k", b"1")])
        one, two = (log.subscribe([topic], group, from_start) for group in ("one", "two"))
        assert take(one, 1) == take(two, 1)

    @pytest.fixture
    def names(self, topic: str) -> list[str]:
        return [f"{topic}-{i}" for i in range(3)]

    def test_a_subscription_gets_all_of_its_topics_and_no_other(
        self, log: EventLog, names: list[str]
    ) -> None:
        log.append([Record(name, "k", str(i).encode()) for i in range(50) for name in names])
        messages = take(log.subscribe(names[:2], "group", from_start), 100, batch=30)
        assert sorted(message.topic for message in messages) == sorted(names[:2] * 50)
        for name in names[:2]:
            values = [int(message.value or b"") for message in messages if message.topic == name]
            assert values == list(range(50))

    def test_a_topic_that_comes_to_be_later_is_read(self, log: EventLog, topic: str) -> None:
        subscription = log.subscribe([topic], "group", from_start)
        assert subscription.poll(10, 0) == []
        log.append([Record(topic, "k", b"late")])
        assert [message.value for message in take(subscription, 1)] == [b"late"]

    def test_an_empty_append_is_no_error(self, log: EventLog, topic: str) -> None:
        log.append([])
        assert log.end_offsets(topic) == {}

    def test_an_append_wakes_who_polls(self, log: EventLog, topic: str) -> None:
        subscription = log.subscribe([topic], "group", from_start)
        subscription.poll(1, 0)
        with ThreadPoolExecutor(1) as thread:
            polled = thread.submit(subscription.poll, 10, 60)
            log.append([Record(topic, "k", b"now")])
            assert [message.value for message in polled.result(timeout=30)] == [b"now"]

    def test_appends_of_many_threads_are_all_there(self, log: EventLog, topic: str) -> None:
        def append(thread: int) -> None:
            for i in range(10):
                log.append([Record(topic, f"t{thread}", f"{i}.{part}".encode()) for part in range(3)])

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(append, range(8)))
        messages = take(log.subscribe([topic], "group", from_start), 240)
        for thread in range(8):
            values = [message.value for message in messages if message.key == f"t{thread}"]
            assert values == [f"{i}.{part}".encode() for i in range(10) for part in range(3)]

    def test_commits_of_offsets_are_taken(self, log: EventLog, topic: str) -> None:
        log.append([Record(topic, "k", b"")])
        subscription = log.subscribe([topic], "group", from_start)
        [message] = take(subscription, 1)
        subscription.commit({message.source: message.offset + 1})

    def test_close_wakes_who_polls(self, log: EventLog, topic: str) -> None:
        subscription = log.subscribe([topic], "group", from_start)
        begun = threading.Event()

        def poll() -> list[Message]:
            begun.set()
            return subscription.poll(10, 60)

        with ThreadPoolExecutor(1) as thread:
            polled = thread.submit(poll)
            begun.wait()
            log.close()
            # The error: the log was closed before the poll began.
            with suppress(BackendUnavailableError):
                assert polled.result(timeout=30) == []

    def test_a_closed_log_says_so(self, log: EventLog, topic: str) -> None:
        subscription = log.subscribe([topic], "group", from_start)
        log.close()
        calls: list[Callable[[], object]] = [
            lambda: log.append([Record(topic, "k", b"")]),
            lambda: log.end_offsets(topic),
            lambda: log.subscribe([topic], "group", from_start),
            lambda: subscription.poll(1, 0),
        ]
        for call in calls:
            with pytest.raises(BackendUnavailableError):
                call()
        log.close()


class TestEmbeddedLog(EventLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[EventLog]:
        log = open_log(f"embedded://{tmp_path}/data/log.db")
        yield log
        log.close()


@pytest.mark.server
class TestKafkaLog(EventLogContract):
    @pytest.fixture
    def log(self) -> Iterator[EventLog]:
        log = open_log(kafka_url())
        yield log
        log.close()


@pytest.mark.server
class TestKafkaLogWithPrefix(EventLogContract):
    @pytest.fixture
    def log(self) -> Iterator[EventLog]:
        log = open_log(kafka_url(prefix=f"app-{uuid.uuid4().hex}."))
        yield log
        log.close()

    @pytest.fixture
    def topic(self) -> str:
        return INTERACTIONS.name

    @pytest.fixture
    def names(self) -> list[str]:
        return [INTERACTIONS.name, MEMBERSHIPS.name, ITEMS.name]
