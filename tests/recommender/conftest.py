"""A recommender on a fresh database (SQLite, and MariaDB where it runs), embedded log and exact store."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, insert, update
from tests.recommender.written_tables import WrittenTables

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import active_space, item_contexts, items, metadata, spaces
from nearfeed_contracts.vector_store import StoredVector, VectorStore
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.app.wiring import Recommender
from nearfeed_recommender.catalog.embeddings import CONTEXTS
from nearfeed_recommender.serving.wiring import Answers
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.sql import read_connection, upsert, write_transaction
from servers import fresh_database

DIM = 4
# These tests ask what happens, on machines that may be slow; deadlines have tests of their own.
PATIENT = {"feed_deadline_ms": 20_000, "write_deadline_ms": 20_000}


@dataclass
class World:
    """The parts of a recommender under test, and what its neighbours would do."""

    settings: RecommenderSettings
    engine: Engine
    log: EventLog
    store: VectorStore
    service: Recommender
    client: TestClient
    written: WrittenTables

    @property
    def answers(self) -> Answers:
        """The serving path behind the API."""
        return self.service.app.state.context.answers  # type: ignore[no-any-return]

    def refresh(self) -> None:
        """Takes in a new configuration and the models that it names."""
        self.answers.feed.ranker.config.refresh()
        self.answers.models.refresh()

    def restart(self) -> None:
        """A new process on the same data."""
        self.service.close()
        self.service = bootstrap(self.settings, engine=self.engine, log=self.log, store=self.store)
        self.client = TestClient(self.service.app, raise_server_exceptions=False)

    def settle(self) -> None:
        """Does all that is due."""
        while any(pump() for pump in self.service.pumps) or any(
            consumer.run_once(0) for consumer in self.service.consumers
        ):
            pass

    def add_space(self, space: str, *, pooling: str = "mean", active: bool = True) -> None:
        """What the indexer does at a load."""
        block = Block(start=0, dim=DIM, pooling=pooling)  # type: ignore[arg-type]
        manifest = Manifest(
            space=space, model="test", dim=DIM, blocks=(block,), created_at="2026-01-01T00:00:00Z"
        )  # type: ignore[arg-type]
        now = now_micros()
        with write_transaction(self.engine) as transaction:
            row = {"space": space, "state": "ready", "manifest": manifest.model_dump_json(), "run_url": "-"}
            transaction.execute(insert(spaces).values(**row, created_at=now))
            if active:
                upsert(transaction, active_space, [{"slot": 1, "space": space, "activated_at": now}])
        self.store.create_space(space, DIM)

    def set_loaded(self, space: str) -> None:
        with write_transaction(self.engine) as transaction:
            transaction.execute(update(spaces).where(spaces.c.space == space).values(loaded_at=now_micros()))

    def set_vector(self, space: str, item_id: str, vector: np.ndarray | None, version: int = 1) -> None:
        """What the indexer does with a vector, or (None) with a deletion."""
        with read_connection(self.engine) as connection:
            item = connection.execute(items.select().where(items.c.item_id == item_id)).one()
        if vector is None:
            self.store.delete(space, [item_id])
        else:
            stored = StoredVector(item_id, item.community_id, item.author_id, item.published_at, vector)
            self.store.upsert(space, [stored])
        self.store.flush(space)
        row = {
            "space": space,
            "item_id": item_id,
            "version": version,
            "context": None if vector is None else vector.astype("<f4").tobytes(),
            "inferred": False,
        }
        with write_transaction(self.engine) as transaction:
            change_id = next_change(transaction, CONTEXTS)
            upsert(transaction, item_contexts, [{**row, "change_id": change_id}])

    def drop_space(self, space: str) -> None:
        with write_transaction(self.engine) as transaction:
            for table in (item_contexts, spaces):
                transaction.execute(delete(table).where(table.c.space == space))
        self.store.drop_space(space)

    def put_post(self, item_id: str, community: str = "c0", **content: object) -> None:
        assert self.client.put(f"/v1/communities/{community}").status_code == 204
        body = {"community_id": community, "author_id": "author", "title": f"Post {item_id}", **content}
        answer = self.client.put(f"/v1/items/{item_id}", json=body)
        assert answer.status_code == 200, answer.text


def unit_vector(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def random_vector() -> Callable[[int], np.ndarray]:
    """A unit vector by its seed; post pN of `served` has that of seed N."""
    return unit_vector


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    with fresh_database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database; "" means the embedded one in the data folder."""
    if request.param == "sqlite":
        return ""
    url = request.getfixturevalue("mariadb_url")
    engine = open_database(url)
    with write_transaction(engine) as transaction:
        for table in reversed(metadata.sorted_tables):
            transaction.execute(delete(table))
    engine.dispose()
    return url


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    settings = RecommenderSettings(
        data_dir=tmp_path, database_url=database_url, secret="a test's secret", **PATIENT
    )
    engine = open_database(settings.database_url)
    log = open_log(settings.log_url)
    store = open_store("memory://")
    written = WrittenTables(engine)
    service = bootstrap(settings, engine=engine, log=log, store=store)
    client = TestClient(service.app, raise_server_exceptions=False)
    yield World(settings, engine, log, store, service, client, written)
    service.close()
    log.close()
    written.close()
    engine.dispose()
    assert written.faults == [], written.faults[0]


@pytest.fixture
def served(world: World) -> World:
    """Twenty posts in two communities, with vectors in an active space."""
    for number in range(20):
        world.put_post(f"p{number}", f"c{number % 2}")
    world.add_space("s1")
    for number in range(20):
        world.set_vector("s1", f"p{number}", unit_vector(number))
    world.set_loaded("s1")
    world.settle()
    return world
