import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, insert
from tests.embedder.taste import put_posts

from nearfeed_backends.opening import open_log
from nearfeed_backends.sql.database import open_database
from nearfeed_contracts.event_log import LogUnavailableError, Record
from nearfeed_contracts.events import Item, ItemDeleted, ItemVector, VectorArray, decode
from nearfeed_contracts.tables import active_space, item_contexts, items, spaces
from nearfeed_contracts.topics import record_of
from nearfeed_embedder import stream
from nearfeed_embedder.dataset import Post
from nearfeed_embedder.stream import PendingPosts, Publisher


class RecordingLog:
    """Keeps what is appended; refuses once for each count in `failures`."""

    def __init__(self) -> None:
        self.events: list[ItemVector] = []
        self.failures = 0

    def append(self, records: Sequence[Record]) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailableError("down")
        for record in records:
            assert record.value is not None
            event = decode(record.value)
            assert isinstance(event, ItemVector)
            assert (record.key, record.partition_key) == (f"{event.space}/{event.item_id}", event.item_id)
            self.events.append(event)

    def published(self) -> list[tuple[str, str, int]]:
        return sorted((event.space, event.item_id, event.version) for event in self.events)


class LengthEncoder:
    """Says how long a post's text is."""

    def encode(self, posts: Sequence[Post]) -> tuple[VectorArray, None]:
        return np.array([[len(post.text), 1] for post in posts], np.float32), None


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/nearfeed.db")
    yield engine
    engine.dispose()


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


@pytest.fixture
def noted() -> PendingPosts:
    return PendingPosts()


@pytest.fixture
def publisher(engine: Engine, log: RecordingLog, noted: PendingPosts) -> Publisher:
    opened = {"run://without": None}
    return Publisher(engine, log, lambda url: opened.get(url, LengthEncoder()), noted)  # type: ignore[arg-type]


def add_space(engine: Engine, space: str, *, url: str = "run://with", loaded: bool = True) -> None:
    row = {"space": space, "state": "loading", "manifest": "{}", "run_url": url, "created_at": 1}
    with engine.begin() as transaction:
        transaction.execute(insert(spaces).values(**row, loaded_at=2 if loaded else None))


def store_context(
    engine: Engine, space: str, item_id: str, version: int, context: bytes | None = b"1234"
) -> None:
    row = {"space": space, "item_id": item_id, "version": version, "context": context}
    with engine.begin() as transaction:
        key = (item_contexts.c.space == space) & (item_contexts.c.item_id == item_id)
        transaction.execute(item_contexts.delete().where(key))
        transaction.execute(insert(item_contexts).values(**row, inferred=True, change_id=1))


def item(item_id: str, version: int = 1, title: str = "four") -> Item:
    return Item(
        item_id=item_id,
        version=version,
        community_id="c",
        author_id="a",
        title=title,
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def note(noted: PendingPosts, *events: Item | ItemDeleted) -> None:
    for event in events:
        handle = noted.add_items if isinstance(event, Item) else noted.forget_items
        handle(None, [event])  # type: ignore[arg-type]


def test_a_post_is_published_once_in_every_live_space(
    engine: Engine, log: RecordingLog, noted: PendingPosts, publisher: Publisher
) -> None:
    add_space(engine, "one")
    add_space(engine, "two")
    note(noted, item("p"), item("p"))
    assert publisher.publish_pending() == 2
    note(noted, item("p"))
    assert publisher.publish_pending() == 0
    assert log.published() == [("one", "p", 1), ("two", "p", 1)]
    (first, _) = log.events
    assert first.inferred
    assert first.vector.tolist() == [4, 1]
    assert (first.community_id, first.author_id, first.published_at.year) == ("c", "a", 2026)


def test_an_edit_is_published_again_and_only_in_its_newest_version(
    engine: Engine, log: RecordingLog, noted: PendingPosts, publisher: Publisher
) -> None:
    add_space(engine, "one")
    note(noted, item("p"))
    publisher.publish_pending()
    note(noted, item("p", 3, "longer"), item("p", 2, "x"))
    publisher.publish_pending()
    assert log.published() == [("one", "p", 1), ("one", "p", 3)]
    assert log.events[-1].vector.tolist() == [6, 1]


def test_a_deleted_post_is_not_published(
    engine: Engine, log: RecordingLog, noted: PendingPosts, publisher: Publisher
) -> None:
    add_space(engine, "one")
    note(noted, item("p"), ItemDeleted(item_id="p", version=2))
    note(noted, item("q"))
    store_context(engine, "one", "q", 2, context=None)
    put_posts(engine, [Post("r", "c", (), "text")], deleted=True)
    assert publisher.publish_pending() + publisher.reconcile() == 0
    assert log.events == []


def test_the_vectors_of_a_deleted_post_are_buried_on_the_log(
    engine: Engine, tmp_path: Path, noted: PendingPosts
) -> None:
    """Compaction removes what names its author; others stay."""
    add_space(engine, "one")
    add_space(engine, "two")
    with closing(open_log(f"embedded:///{tmp_path}/log.db")) as log:
        for space in ("one", "two"):
            for name in ("p", "q"):
                vector = np.ones(2, np.float32)
                log.append([record_of(stream._event_of(space, item(name), vector, None))])
        (*_, bury) = stream.handlers(noted, log)[ItemDeleted]
        with engine.begin() as transaction:
            bury(transaction, [ItemDeleted(item_id="p", version=2)])
        log.maintain()
        subscription = log.subscribe(["item-vectors"], "test", lambda _: 0)
        kept = subscription.poll(100, 1)
        subscription.close()
    assert {message.key for message in kept if message.value is not None} == {"one/q", "two/q"}
    assert {message.key for message in kept if message.value is None} == {"one/p", "two/p"}


def test_what_a_space_holds_already_is_not_published(
    engine: Engine, log: RecordingLog, noted: PendingPosts, publisher: Publisher
) -> None:
    add_space(engine, "one")
    store_context(engine, "one", "p", 5)
    note(noted, item("p", 5), item("p", 4), item("q", 1))
    publisher.publish_pending()
    assert log.published() == [("one", "q", 1)]


def test_a_space_gets_the_posts_that_its_run_lacks_once_that_is_loaded(
    engine: Engine, log: RecordingLog, publisher: Publisher
) -> None:
    posts = [Post(f"p{number:03d}", "c", (), "text") for number in range(600)]
    put_posts(engine, posts, version=2)
    add_space(engine, "one", loaded=False)
    assert publisher.reconcile() == 0
    add_space(engine, "two")
    for number in range(0, 600, 2):
        store_context(engine, "two", f"p{number:03d}", 2)
    store_context(engine, "two", "p001", 1)
    assert publisher.reconcile() == 300
    assert publisher.reconcile() == 0
    assert log.published() == [("two", f"p{number:03d}", 2) for number in range(1, 600, 2)]


def test_a_run_without_an_encoder_gets_nothing(
    engine: Engine, log: RecordingLog, noted: PendingPosts, publisher: Publisher
) -> None:
    add_space(engine, "one", url="run://without")
    put_posts(engine, [Post("p", "c", (), "text")])
    note(noted, item("p"))
    assert publisher.publish_pending() + publisher.reconcile() == 0


def test_what_the_log_refused_is_published_later(
    engine: Engine, log: RecordingLog, noted: PendingPosts, publisher: Publisher
) -> None:
    add_space(engine, "one")
    put_posts(engine, [Post("p", "c", (), "text")])
    note(noted, item("p"))
    log.failures = 1
    with pytest.raises(LogUnavailableError):
        publisher.publish_pending()
    publisher.publish_pending()
    assert publisher.reconcile() == 1
    assert log.published() == [("one", "p", 1)]


def test_a_run_that_cannot_be_opened_keeps_no_other_from_its_vectors(
    engine: Engine, log: RecordingLog, noted: PendingPosts
) -> None:
    broken = {"run://broken"}

    def open_encoder(url: str) -> LengthEncoder:
        if url in broken:
            raise OSError("unreachable")
        return LengthEncoder()

    publisher = Publisher(engine, log, open_encoder, noted)  # type: ignore[arg-type]
    add_space(engine, "broken", url="run://broken")
    add_space(engine, "whole")
    put_posts(engine, [Post("p", "c", (), "text")])
    publisher.reconcile()
    assert log.published() == [("whole", "p", 1)]
    broken.clear()
    publisher.reconcile()
    assert log.published() == [("broken", "p", 1), ("whole", "p", 1)]


class FailingEncoder:
    """Has lost its files."""

    def encode(self, _posts: Sequence[Post]) -> tuple[VectorArray, None]:
        raise FileNotFoundError("encoder/shifts.parquet")


def test_an_encoder_that_fails_keeps_no_other_from_its_vectors(
    engine: Engine, log: RecordingLog, noted: PendingPosts
) -> None:
    encoders = {"run://broken": FailingEncoder()}
    publisher = Publisher(engine, log, lambda url: encoders.get(url, LengthEncoder()), noted)  # type: ignore[arg-type]
    add_space(engine, "broken", url="run://broken")
    add_space(engine, "whole")
    put_posts(engine, [Post("p", "c", (), "text"), Post("q", "c", (), "text")])
    note(noted, item("p"))
    assert publisher.publish_pending() == 1
    assert publisher.reconcile() == 1
    assert log.published() == [("whole", "p", 1), ("whole", "q", 1)]
    encoders.clear()
    assert publisher.reconcile() == 2


def test_an_encoder_is_opened_once_and_dropped_with_its_space(
    engine: Engine, log: RecordingLog, noted: PendingPosts
) -> None:
    opened: list[str] = []

    def open_encoder(url: str) -> LengthEncoder:
        opened.append(url)
        return LengthEncoder()

    publisher = Publisher(engine, log, open_encoder, noted)  # type: ignore[arg-type]
    add_space(engine, "one")
    publisher.reconcile()
    publisher.reconcile()
    assert opened == ["run://with"]
    with engine.begin() as transaction:
        transaction.execute(spaces.delete())
    publisher.reconcile()
    add_space(engine, "one")
    publisher.reconcile()
    assert opened == ["run://with"] * 2


def test_rows_of_items_are_encoded_as_their_events_are(
    engine: Engine, log: RecordingLog, publisher: Publisher
) -> None:
    add_space(engine, "one")
    put_posts(engine, [Post("p", "c", ("a", "b"), "title")])
    with engine.begin() as transaction:
        transaction.execute(items.update().values(body="body"))
    publisher.reconcile()
    assert log.events[0].vector.tolist() == [len("title\nbody"), 1]


def test_a_database_that_lacks_nothing_is_searched_again_once_it_has_changed(
    engine: Engine, noted: PendingPosts, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_REST_PER_LOOK", 0)
    looks: list[str] = []
    missing = stream.missing_posts

    def counted(engine: Engine, space: str) -> Iterator[list[Item]]:
        looks.append(space)
        return missing(engine, space)

    monkeypatch.setattr(stream, "missing_posts", counted)
    put_posts(engine, [Post("p", "c", (), "text")])
    add_space(engine, "one")
    store_context(engine, "one", "p", 1)
    stop = threading.Event()
    found: list[int] = []

    def rest(_seconds: float) -> None:
        found.append(len(looks))
        if len(found) == 3:
            store_context(engine, "one", "p", 2)
        if len(found) == 6:
            stop.set()

    monkeypatch.setattr(noted, "wait", rest)
    publisher.run(stop, reconcile_seconds=0)
    assert found == [1, 1, 1, 2, 2, 2]


@contextmanager
def publishing(publisher: Publisher, reconcile_seconds: float) -> Iterator[None]:
    """The publisher's loop meanwhile."""
    stop = threading.Event()
    thread = threading.Thread(
        target=publisher.run, args=(stop,), kwargs={"reconcile_seconds": reconcile_seconds}
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def eventually(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up, "it did not come to hold"
        time.sleep(0.01)


def test_a_noted_post_is_encoded_before_the_rest_of_what_a_space_lacks(
    engine: Engine, log: RecordingLog, noted: PendingPosts
) -> None:
    class Told(LengthEncoder):
        """A new post comes in with the first bulk of old ones."""

        def encode(self, posts: Sequence[Post]) -> tuple[VectorArray, None]:
            if not log.events:
                note(noted, item("new"))
            return super().encode(posts)

    put_posts(engine, [Post(f"p{number:04d}", "c", (), "text") for number in range(2_000)])
    add_space(engine, "one")
    publisher = Publisher(engine, log, lambda _: Told(), noted)  # type: ignore[arg-type]
    with publishing(publisher, 3_600):
        eventually(lambda: len(log.events) == 2_001)
    order = [event.item_id for event in log.events]
    assert 0 < order.index("new") <= 256


def test_a_space_that_was_loaded_is_looked_at_at_once(
    engine: Engine, log: RecordingLog, publisher: Publisher
) -> None:
    put_posts(engine, [Post("p", "c", (), "text")])
    add_space(engine, "one")
    add_space(engine, "two", loaded=False)
    with publishing(publisher, 3_600):
        eventually(lambda: log.published() == [("one", "p", 1)])
        with engine.begin() as transaction:
            transaction.execute(spaces.update().values(loaded_at=2))
        eventually(lambda: log.published() == [("one", "p", 1), ("two", "p", 1)])


def test_how_long_an_encoder_takes_to_open_does_not_put_off_the_next_look(
    engine: Engine, log: RecordingLog, noted: PendingPosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        late = 0.0

        def monotonic(self) -> float:
            return time.monotonic() + self.late

    clock = Clock()
    monkeypatch.setattr(stream, "time", clock)

    def open_encoder(_: str) -> LengthEncoder:
        clock.late += 1_000
        return LengthEncoder()

    add_space(engine, "one")
    publisher = Publisher(engine, log, open_encoder, noted)  # type: ignore[arg-type]
    with publishing(publisher, 0.1):
        eventually(lambda: clock.late > 0)
        put_posts(engine, [Post("p", "c", (), "text")])
        eventually(lambda: log.published() == [("one", "p", 1)])


def test_encoders_are_opened_before_a_post_comes_that_of_the_served_space_first(
    engine: Engine, log: RecordingLog, noted: PendingPosts
) -> None:
    opened: list[str] = []

    def open_encoder(url: str) -> LengthEncoder:
        opened.append(url)
        return LengthEncoder()

    add_space(engine, "one", url="run://one")
    add_space(engine, "two", url="run://two")
    with engine.begin() as transaction:
        transaction.execute(insert(active_space).values(slot=1, space="two", activated_at=1))
    with publishing(Publisher(engine, log, open_encoder, noted), 3_600):  # type: ignore[arg-type]
        eventually(lambda: opened == ["run://two", "run://one"])
