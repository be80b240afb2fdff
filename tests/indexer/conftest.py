"""A small world for the indexer: SQL, the exact store, a log whose order the test decides, and runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event, insert, select

from nearfeed_backends.embedded.numpy_store import NumpyStore
from nearfeed_backends.opening import open_database
from nearfeed_contracts.event_log import Message, Record, TopicPartition
from nearfeed_contracts.events import Item, ItemDeleted, ItemVector
from nearfeed_contracts.runs import Block, Manifest, Run, VectorBatch, open_run, write_manifest, write_vectors
from nearfeed_contracts.tables import communities, item_contexts, items, metadata, reader_builds, spaces
from nearfeed_contracts.topics import record_of
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer.applying import GROUP, TOPICS, handlers
from nearfeed_indexer.checking import CheckedRun, check_run
from nearfeed_runtime.consume import Consumer
from servers import fresh_database

DIM = 4
START = datetime(2026, 1, 1, tzinfo=UTC)


class CrashError(Exception):
    """Stands for the end of the process."""


@dataclass
class Fault:
    """Raises CrashError at the `countdown`-th statement, commit or store call from now on, once."""

    countdown: int | None = None
    seen: int = 0

    def pass_by(self, *_: Any) -> None:
        self.seen += 1
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                self.countdown = None
                raise CrashError


class FaultyStore:
    """A store that may crash before and after each call that writes."""

    def __init__(self, inner: VectorStore, fault: Fault) -> None:
        self._inner, self._fault = inner, fault

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in ("create_space", "drop_space", "upsert", "delete", "flush"):
            return method

        def call(*arguments: Any) -> Any:
            self._fault.pass_by()
            result = method(*arguments)
            self._fault.pass_by()
            return result

        return call


@dataclass
class ListLog:
    """An EventLog of one partition per topic that delivers in the order of the appends."""

    messages: list[Message] = field(default_factory=list)

    def append(self, records: Sequence[Record]) -> None:
        for record in records:
            offset = sum(m.topic == record.topic for m in self.messages)
            self.messages.append(Message(record.topic, 0, offset, record.key, record.value, 0))

    def subscribe(
        self, topics: Sequence[str], group: str, positions: Callable[[TopicPartition], int]
    ) -> "ListSubscription":
        return ListSubscription(self, {name: positions(TopicPartition(name, 0)) for name in topics})

    def end_offsets(self, topic: str) -> dict[int, int]:
        return {0: sum(m.topic == topic for m in self.messages)}

    def maintain(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class ListSubscription:
    log: ListLog
    next: dict[str, int]

    def poll(self, max_records: int, timeout: float) -> list[Message]:
        due = [m for m in self.log.messages if m.offset >= self.next.get(m.topic, 1 << 60)][:max_records]
        for message in due:
            self.next[message.topic] = message.offset + 1
        return due

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    def rejoin(self) -> None: ...

    def close(self) -> None: ...


class SmallRun(Run):
    """A run that is read two rows at a time."""

    def vector_batches(self, rows: int = 2) -> Iterator[VectorBatch]:
        yield from super().vector_batches(min(rows, 2))


def vector_of(space: str, item_id: str, version: int, inferred: bool = False) -> np.ndarray:
    """The vector that a version of a post has in a space, different for each."""
    seed = sum(ord(letter) * 31**n for n, letter in enumerate(f"{space}/{item_id}/{version}/{inferred}"))
    raw = np.random.default_rng(seed % 2**32).standard_normal(DIM)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def context_of(space: str, item_id: str, version: int, inferred: bool = False) -> bytes:
    return bytes((-vector_of(space, item_id, version, inferred)).tobytes())


def item_row(item_id: str, version: int = 1) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "version": version,
        "deleted": False,
        "community_id": f"c{version}",
        "author_id": "a",
        "title": item_id,
        "body": "",
        "tags": "[]",
        "published_at": 5,
    }


def item_event(item_id: str, version: int = 1) -> Item:
    return Item(
        item_id=item_id,
        version=version,
        community_id=f"c{version}",
        author_id=f"a{version}",
        title=f"{item_id} {version}",
        tags=("x", "y"),
        published_at=START + timedelta(seconds=version),
    )


def vector_event(space: str, item_id: str, version: int = 1, inferred: bool = False) -> ItemVector:
    vector = vector_of(space, item_id, version, inferred)
    return ItemVector(
        space=space,
        item_id=item_id,
        version=version,
        community_id=f"c{version}",
        author_id=f"a{version}",
        published_at=START + timedelta(seconds=version),
        vector=vector,
        context=-vector,
        inferred=inferred,
    )


def write_run(folder: Path, space: str, versions: Mapping[str, int | None], *, encoder: bool = False) -> str:
    """A run of posts in given versions (None for all: a run without that column); returns its URL."""
    url = (folder / space).as_uri()
    vectors = np.stack([vector_of(space, item_id, version or 1) for item_id, version in versions.items()])
    known = [version for version in versions.values() if version is not None]
    write_vectors(url, list(versions), vectors, contexts=-vectors, versions=known or None)
    if encoder:
        (folder / space / "encoder").mkdir()
        (folder / space / "encoder" / "weights").write_bytes(b"weights")
    blocks = (Block(start=0, dim=DIM),)
    manifest = Manifest(space=space, model="test", dim=DIM, blocks=blocks, created_at=START)
    metrics = {"models": {"test": {"recall@20": {"mean": 0.25}}}}
    write_manifest(url, manifest.model_copy(update={"metrics": metrics}))
    return url


def checked_run(url: str) -> CheckedRun:
    """A run as `load` has checked it, but read two rows at a time."""
    return _returned(check_run(SmallRun(url, open_run(url).manifest)))


@dataclass
class World:
    """What the tests act on; `fault` decides where the next crash is."""

    engine: Engine
    CrashError = CrashError
    DIM = DIM
    item_row = staticmethod(item_row)
    vector_of = staticmethod(vector_of)
    context_of = staticmethod(context_of)
    item = staticmethod(item_event)
    vector = staticmethod(vector_event)
    write_run = staticmethod(write_run)
    checked_run = staticmethod(checked_run)

    fault: Fault = field(default_factory=Fault)
    exact: NumpyStore = field(default_factory=NumpyStore)
    log: ListLog = field(default_factory=ListLog)

    def __post_init__(self) -> None:
        self.store: VectorStore = FaultyStore(self.exact, self.fault)
        with self.engine.begin() as transaction:
            for table in reversed(metadata.sorted_tables):
                transaction.execute(table.delete())

    def consumer(self, batch: int = 500) -> Consumer:
        return Consumer(self.engine, self.log, GROUP, TOPICS, handlers(self.store), batch=batch)

    def apply(self, *events: Item | ItemDeleted | ItemVector, batch: int = 500) -> None:
        """Puts events on the log and consumes all that is there, as a fresh process would."""
        self.log.append([record_of(event) for event in events])
        consumer = self.consumer(batch)
        while consumer.run_once(0):
            pass

    def add_items(self, *ids: str, version: int = 1) -> None:
        """Posts as the API puts them."""
        with self.engine.begin() as transaction:
            for item_id in ids:
                transaction.execute(insert(items).values(item_row(item_id, version)))

    def add_space(self, space: str, dim: int = DIM, state: str = "loading") -> None:
        """A space as `load` makes it before its first batch."""
        manifest = Manifest(
            space=space, model="test", dim=dim, blocks=(Block(start=0, dim=dim),), created_at=START
        )
        row = {
            "space": space,
            "state": state,
            "manifest": manifest.model_dump_json(),
            "run_url": "",
            "created_at": 1,
        }
        with self.engine.begin() as transaction:
            transaction.execute(insert(spaces).values(row))
        self.exact.create_space(space, dim)

    def build_readers(self, space: str, readers: int = 3, change_id: int = 1 << 40) -> None:
        """What the recommender does once it sees a space loaded."""
        row = {
            "space": space,
            "change_id": change_id,
            "readers": readers,
            "built_at": 1,
        }
        extra = {c.name: "" for c in reader_builds.c if c.name not in row}
        with self.engine.begin() as transaction:
            transaction.execute(insert(reader_builds).values({**row, **extra}))

    def items(self) -> dict[str, tuple[int, bool]]:
        with self.engine.connect() as connection:
            return {row.item_id: (row.version, row.deleted) for row in connection.execute(select(items))}

    def item_changes(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return dict(connection.execute(select(items.c.item_id, items.c.change_id)).all())

    def communities(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.scalars(select(communities.c.community_id)))

    def contexts(self, space: str) -> dict[str, tuple[int, bytes | None, bool]]:
        query = select(item_contexts).where(item_contexts.c.space == space)
        with self.engine.connect() as connection:
            return {
                row.item_id: (row.version, row.context, row.inferred) for row in connection.execute(query)
            }

    def changes(self, space: str) -> dict[str, int]:
        query = select(item_contexts).where(item_contexts.c.space == space)
        with self.engine.connect() as connection:
            return {row.item_id: row.change_id for row in connection.execute(query)}

    def spaces(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            return {row.space: row.state for row in connection.execute(select(spaces))}

    def vectors(self, space: str) -> dict[str, bytes]:
        found = self.exact.fetch(space, [f"i{n}" for n in range(200)])
        return {item_id: vector.tobytes() for item_id, vector in found.items()}


def _returned(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="session", params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "mariadb":
        with fresh_database() as url:
            engine = open_database(url)
            yield engine
            engine.dispose()
        return
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('indexer')}/nearfeed.db")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    engine.dispose()
    yield engine
    engine.dispose()


@pytest.fixture
def new_world(database: Engine) -> Iterator[Callable[[], World]]:
    """Makes an empty world; the former one of the same test ends."""
    current: list[World] = []

    def forget() -> None:
        while current:
            world = current.pop()
            event.remove(database, "before_cursor_execute", world.fault.pass_by)
            event.remove(database, "commit", world.fault.pass_by)

    def make() -> World:
        forget()
        world = World(database)
        current.append(world)
        event.listen(database, "before_cursor_execute", world.fault.pass_by)
        event.listen(database, "commit", world.fault.pass_by)
        return world

    yield make
    forget()


@pytest.fixture
def world(new_world: Callable[[], World]) -> World:
    return new_world()
