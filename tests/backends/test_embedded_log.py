import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from nearfeed_backends.embedded import log as embedded_log
from nearfeed_backends.embedded.log import EmbeddedLog
from nearfeed_backends.embedded.log_retention import TOMBSTONE_RETENTION
from nearfeed_backends.embedded.log_subscription import OtherLogError
from nearfeed_backends.errors import BackendSettingError
from nearfeed_contracts.event_log import LogUnavailableError, Message, Record
from nearfeed_contracts.topics import INTERACTIONS, ITEMS, READER_RETENTION


class Clock:
    """Microseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by // timedelta(microseconds=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "log.db")


@pytest.fixture
def log(path: str, clock: Clock) -> Iterator[EmbeddedLog]:
    log = EmbeddedLog(path, clock=clock)
    yield log
    log.close()


def read(log: EmbeddedLog, topic: str, start: int = 0) -> list[Message]:
    subscription = log.subscribe([topic], "reader", lambda _: start)
    messages = subscription.poll(100_000, 0)
    subscription.close()
    return messages


def offsets(log: EmbeddedLog, topic: str) -> list[int]:
    return [message.offset for message in read(log, topic)]


def test_a_compacted_topic_keeps_the_newest_of_each_key(log: EmbeddedLog) -> None:
    log.append([Record(ITEMS.name, key, str(i).encode()) for i, key in enumerate("abacbd")])
    log.maintain()
    assert [(m.offset, m.key) for m in read(log, ITEMS.name)] == [(2, "a"), (3, "c"), (4, "b"), (5, "d")]


def test_a_tombstone_stays_for_a_day(log: EmbeddedLog, clock: Clock) -> None:
    log.append([Record(ITEMS.name, "a", b"1"), Record(ITEMS.name, "a", None), Record(ITEMS.name, "b", b"2")])
    clock.advance(TOMBSTONE_RETENTION)
    log.maintain()
    assert offsets(log, ITEMS.name) == [1, 2]
    clock.advance(timedelta(seconds=1))
    log.maintain()
    assert offsets(log, ITEMS.name) == [2]


@pytest.mark.parametrize("topic", [INTERACTIONS.name, INTERACTIONS.name + ".dead", ITEMS.name + ".dead"])
def test_topics_with_reader_ids_are_kept_for_thirty_days(log: EmbeddedLog, clock: Clock, topic: str) -> None:
    log.append([Record(topic, "k", b"old"), Record(topic, "k", b"old too")])
    clock.advance(timedelta(days=20))
    log.append([Record(topic, "k", b"new")])
    clock.advance(timedelta(days=10, seconds=1))
    log.maintain()
    assert [message.value for message in read(log, topic)] == [b"new"]


def test_a_topic_without_a_rule_is_kept(log: EmbeddedLog, clock: Clock) -> None:
    log.append([Record("anything", "k", b"1"), Record("anything", "k", None)])
    clock.advance(timedelta(days=1000))
    log.maintain()
    assert offsets(log, "anything") == [0, 1]


def test_offsets_are_not_used_again_after_deletion_and_reopening(log: EmbeddedLog, clock: Clock) -> None:
    log.append([Record(INTERACTIONS.name, "k", b"")] * 3)
    clock.advance(2 * READER_RETENTION)
    log.maintain()
    assert offsets(log, INTERACTIONS.name) == []
    assert log.end_offsets(INTERACTIONS.name) == {0: 3}
    log.close()
    again = EmbeddedLog(log._path, clock=clock)
    again.append([Record(INTERACTIONS.name, "k", b"")])
    assert offsets(again, INTERACTIONS.name) == [3]
    again.close()


def test_a_position_before_the_first_kept_message_starts_there(log: EmbeddedLog) -> None:
    log.append([Record(ITEMS.name, "a", str(i).encode()) for i in range(5)])
    log.maintain()
    assert [message.offset for message in read(log, ITEMS.name, start=1)] == [4]


def test_erased_content_leaves_the_file(log: EmbeddedLog, clock: Clock, path: str) -> None:
    log.append([Record(INTERACTIONS.name, "reader", b"a very private reading")])
    clock.advance(2 * READER_RETENTION)
    log.maintain()
    log.close()
    assert all(b"very private" not in file.read_bytes() for file in Path(path).parent.iterdir())


def test_a_position_after_the_end_is_refused(log: EmbeddedLog) -> None:
    log.append([Record("items", "k", b"")])
    subscription = log.subscribe(["items"], "indexer", lambda _: 2)
    with pytest.raises(
        OtherLogError, match="topic items ends at 1, but group indexer has read up to 2; put back"
    ):
        subscription.poll(1, 0)


def test_two_members_of_a_group_both_get_messages(log: EmbeddedLog) -> None:
    members = [log.subscribe(["items"], "group", lambda _: 0) for _ in range(2)]
    log.append([Record("items", "k", b"")])
    assert members[0].poll(1, 1) == members[1].poll(1, 1) != []


def test_appends_of_another_process_are_seen(log: EmbeddedLog, path: str) -> None:
    other = EmbeddedLog(path)
    subscription = log.subscribe(["items"], "group", lambda _: 0)
    assert subscription.poll(1, 0) == []
    other.append([Record("items", "k", b"theirs")])
    assert [message.value for message in subscription.poll(1, 10)] == [b"theirs"]
    other.close()


def test_a_quiet_log_is_not_read_again(log: EmbeddedLog, path: str) -> None:
    subscription = log.subscribe([ITEMS.name, INTERACTIONS.name], "reader", lambda _: 0)
    assert subscription.poll(10, 0) == []
    statements: list[str] = []
    subscription._connection.set_trace_callback(statements.append)
    assert subscription.poll(10, 0) == []
    assert [text for text in statements if "messages" in text] == []
    log.append([Record(ITEMS.name, "a", b"1")])
    assert [message.value for message in subscription.poll(10, 0)] == [b"1"]
    other = EmbeddedLog(path)
    other.append([Record(INTERACTIONS.name, "a", b"2")])
    other.close()
    assert [message.value for message in subscription.poll(10, 0)] == [b"2"]
    subscription.rejoin()
    assert len(subscription.poll(10, 0)) == 2


def test_an_append_that_fails_leaves_nothing_and_says_so(log: EmbeddedLog) -> None:
    wrong: list[Record] = [Record("items", "k", b"fine"), Record("items", "k", object())]  # type: ignore[arg-type]
    with pytest.raises(LogUnavailableError, match=r"NEARFEED_LOG_URL: .* cannot be written now"):
        log.append(wrong)
    with pytest.raises(UnicodeEncodeError):
        log.append([Record("items", "\ud800", b"no text")])
    log.append([Record("items", "k", b"fine")])
    assert [(message.offset, message.value) for message in read(log, "items")] == [(0, b"fine")]


@pytest.fixture
def held(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[int], threading.Event]]:
    """The first commit waits for the event; the list has how many records each commit wrote."""
    write, sizes, go = log._write, list[int](), threading.Event()

    def wait_and_write(records: Sequence[Record]) -> None:
        sizes.append(len(records))
        if len(sizes) == 1:
            assert go.wait(30)
        write(records)

    monkeypatch.setattr(log, "_write", wait_and_write)
    yield sizes, go
    go.set()


def wait_until(holds: Callable[[], object]) -> None:
    while not holds():
        time.sleep(0.001)


def test_appends_that_wait_are_committed_together(
    log: EmbeddedLog, held: tuple[list[int], threading.Event]
) -> None:
    sizes, go = held
    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(log.append, [Record(ITEMS.name, "first", b"")])
        wait_until(lambda: sizes)
        others = [threads.submit(log.append, [Record(ITEMS.name, f"k{n}", b"")] * 2) for n in range(19)]
        wait_until(lambda: len(log._queue) == 19)
        assert not first.done()
        go.set()
        for each in (first, *others):
            each.result(30)
    assert sizes == [1, 38]
    keys = ["first", *(f"k{n}" for n in range(19) for _ in range(2))]
    assert sorted(message.key for message in read(log, ITEMS.name)) == sorted(keys)


def test_appends_of_many_threads_arrive_once_and_in_the_order_of_each(log: EmbeddedLog) -> None:
    def append(thread: int) -> None:
        for number in range(50):
            log.append([Record(ITEMS.name, f"{thread}", b"%d" % number)])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(append, range(8)))
    found: dict[str, list[int]] = {}
    for message in read(log, ITEMS.name):
        found.setdefault(message.key, []).append(int(message.value or b""))
    assert found == {f"{thread}": list(range(50)) for thread in range(8)}


def test_an_append_that_is_interrupted_while_it_waits_is_taken_back(
    log: EmbeddedLog, held: tuple[list[int], threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def acquire(self) -> bool:
            raise KeyboardInterrupt

        def release(self) -> None: ...

    sizes, go = held
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(log.append, [Record(ITEMS.name, "first", b"")])
        wait_until(lambda: sizes)
        append = embedded_log._Append([Record(ITEMS.name, "second", b"")])
        append.turn = Interrupted()  # type: ignore[assignment]
        monkeypatch.setattr(embedded_log, "_Append", lambda _: append)
        with pytest.raises(KeyboardInterrupt):
            log.append(append.records)
        go.set()
        first.result(30)
    assert [message.key for message in read(log, ITEMS.name)] == ["first"]


def test_a_log_that_is_held_by_another_is_unavailable(log: EmbeddedLog, path: str) -> None:
    log._writer.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailableError, match="locked"):
        log.append([Record("items", "k", b"1")])
    other.execute("ROLLBACK")
    log.append([Record("items", "k", b"2")])
    assert [message.value for message in read(log, "items")] == [b"2"]
    other.close()


APPEND_UNTIL_KILLED = """
import sys
from nearfeed_backends.embedded.log import EmbeddedLog
from nearfeed_contracts.event_log import Record
log = EmbeddedLog(sys.argv[1])
for i in range(1_000_000):
    log.append([Record("items", str(i), b"x" * 3000), Record("interactions", str(i), None)])
    print(i, flush=True)
"""


def test_every_append_that_returned_survives_a_kill(path: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", APPEND_UNTIL_KILLED, path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 150:
                child.kill()
        returned = int(line)
    log = EmbeddedLog(path)
    for topic in ("items", "interactions"):
        messages = read(log, topic)
        assert [message.offset for message in messages] == list(range(len(messages)))
        assert [message.key for message in messages] == [str(i) for i in range(len(messages))]
        assert returned + 1 <= len(messages) <= returned + 2
    log.close()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "is a folder; name a file in it"),
        ("text", "file is not a database.*; name another file"),
        ("text/below/log.db", "cannot be made .*; name one that can"),
        ("other.db", "a database of something else; name another file"),
        ("newer.db", "newer Nearfeed; install that release"),
    ],
)
def test_a_file_that_is_no_log_gets_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    for file, statement in (("other.db", "CREATE TABLE t (x)"), ("newer.db", "PRAGMA user_version = 99")):
        connection = sqlite3.connect(tmp_path / file)
        connection.execute(statement)
        connection.commit()
        connection.close()
    with pytest.raises(BackendSettingError, match=f"^NEARFEED_LOG_URL: .*{sentence}"):
        EmbeddedLog(str(tmp_path / name))


TOPICS = ["items", "interactions", "items.dead", "unknown"]


class LogAgainstModel(RuleBasedStateMachine):
    """The log keeps what a list with the rules of its topics keeps."""

    folder: Path
    number = 0

    @initialize()
    def open(self) -> None:
        LogAgainstModel.number += 1
        self.path = str(self.folder / f"{LogAgainstModel.number}.db")
        self.clock = Clock()
        self.log = EmbeddedLog(self.path, clock=self.clock)
        self.kept: dict[str, list[Message]] = {topic: [] for topic in TOPICS}
        self.ends = dict.fromkeys(TOPICS, 0)

    @rule(
        records=st.lists(
            st.tuples(
                st.sampled_from(TOPICS), st.sampled_from("abc"), st.one_of(st.none(), st.binary(max_size=3))
            ),
            max_size=6,
        )
    )
    def append(self, records: list[tuple[str, str, bytes | None]]) -> None:
        self.log.append([Record(*record) for record in records])
        for topic, key, value in records:
            self.kept[topic].append(Message(topic, 0, self.ends[topic], key, value, self.clock.now))
            self.ends[topic] += 1

    @rule(hours=st.integers(1, 500))
    def wait(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))

    @rule()
    def maintain(self) -> None:
        self.log.maintain()
        for topic in TOPICS:
            self.kept[topic] = [message for message in self.kept[topic] if self.stays(message)]

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = EmbeddedLog(self.path, clock=self.clock)

    @rule(topic=st.sampled_from(TOPICS), data=st.data(), batch=st.integers(1, 4))
    def read(self, topic: str, data: st.DataObject, batch: int) -> None:
        start = data.draw(st.integers(0, self.ends[topic]))
        subscription = self.log.subscribe([topic], "group", lambda _: start)
        messages: list[Message] = []
        while polled := subscription.poll(batch, 0):
            assert len(polled) <= batch
            messages += polled
        subscription.close()
        assert messages == [message for message in self.kept[topic] if message.offset >= start]
        assert self.log.end_offsets(topic) == ({0: self.ends[topic]} if self.ends[topic] else {})

    def stays(self, message: Message) -> bool:
        age = timedelta(microseconds=self.clock.now - message.timestamp)
        if message.topic == "items":
            newest = max(m.offset for m in self.kept["items"] if m.key == message.key)
            tombstone_over = message.value is None and age > timedelta(days=1)
            return message.offset == newest and not tombstone_over
        return message.topic == "unknown" or age <= timedelta(days=30)

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close()


def test_the_log_keeps_what_its_model_keeps(tmp_path: Path) -> None:
    LogAgainstModel.folder = tmp_path
    run_state_machine_as_test(
        LogAgainstModel, settings=settings(max_examples=15, stateful_step_count=20, deadline=None)
    )
