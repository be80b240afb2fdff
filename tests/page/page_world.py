"""A small community in a running recommender: six topics in three communities, eleven readers, two spaces."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, insert, select

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.events import Interaction
from nearfeed_contracts.fields import from_micros, now_micros
from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import active_space, item_contexts, items, spaces
from nearfeed_contracts.topics import record_of
from nearfeed_contracts.vector_store import StoredVector, VectorStore
from nearfeed_recommender.app.bootstrap import bootstrap
from nearfeed_recommender.app.server import bind
from nearfeed_recommender.catalog.embeddings import CONTEXTS
from nearfeed_recommender.catalog.writes import ItemDraft, put_items
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.users.memberships import put_memberships
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.process import Loop, every, running
from nearfeed_runtime.sql import committed, read_connection, upsert, write_transaction

DIM = 12
COMMUNITIES = {"films": ("noir", "space"), "books": ("poems", "maps"), "garden": ("roses", "bees")}
TOPICS = tuple(topic for topics in COMMUNITIES.values() for topic in topics)
POSTS_OF_A_TOPIC = 20
READERS = {
    "ann": "noir",
    "ben": "noir",
    "cho": "space",
    "dee": "poems",
    "eun": "noir",
    "fay": "bees",
    "gil": "noir",
    "hal": "space",
    "ida": "poems",
    "jun": "roses",
    "kay": "roses",
}
SPACES = ("first", "second")
DAY = 86_400_000_000
ALL_KEY, READ_KEY = "key-of-all", "key-of-reading"


@dataclass(frozen=True)
class PageWorld:
    """Where the service is, and its parts to look into; `guarded_url` is the same with API keys."""

    url: str
    guarded_url: str
    client: httpx.Client
    engine: Engine
    log: EventLog
    store: VectorStore
    settings: RecommenderSettings


@contextmanager
def open_world(data_dir: Path) -> Iterator[PageWorld]:
    """Serves it until the end of the block."""
    with ExitStack() as resources:
        settings = RecommenderSettings(data_dir=data_dir, secret="a test's secret", port=0)
        engine = open_database(settings.database_url)
        resources.callback(engine.dispose)
        log = resources.enter_context(closing(open_log(settings.log_url)))
        store = open_store("memory://")
        service = resources.enter_context(closing(bootstrap(settings, engine=engine, log=log, store=store)))
        keys = {ALL_KEY: ["feed", "events", "items", "admin"], READ_KEY: ["feed"]}
        with_keys = settings.model_copy(update={"api_keys": keys})
        guarded = resources.enter_context(closing(bootstrap(with_keys, engine=engine, log=log, store=store)))
        _fill(engine, log)
        for number, space in enumerate(SPACES):
            _add_space(engine, store, space, active=not number)
        give = partial(give_vectors, engine, store)
        give()
        settle = [consumer.run_once for consumer in service.consumers]
        while any(once(0) for once in settle) or any(pump() for pump in service.pumps):
            pass
        service_loops = [*service.loops, Loop("vectors", every(0.1, give))]
        resources.enter_context(running(service_loops))
        url = resources.enter_context(_served(service.app, settings))
        guarded_url = resources.enter_context(_served(guarded.app, settings))
        client = resources.enter_context(httpx.Client(base_url=url, trust_env=False))
        yield PageWorld(url, guarded_url, client, engine, log, store, settings)


def give_vectors(engine: Engine, store: VectorStore) -> None:
    """What embedder and indexer do for posts that lack a vector: here it follows from their first tag."""
    for number, space in enumerate(SPACES):
        with read_connection(engine) as connection:
            known = select(item_contexts.c.item_id).where(item_contexts.c.space == space)
            query = select(items).where(items.c.item_id.not_in(known), items.c.deleted.is_(False))
            lacking = connection.execute(query).all()
        if lacking:
            vectors = [vector_of(row.item_id, row.tags, number) for row in lacking]
            stored = [
                StoredVector(row.item_id, row.community_id, row.author_id, row.published_at, vector)
                for row, vector in zip(lacking, vectors, strict=True)
            ]
            store.upsert(space, stored)
            rows = [
                {
                    "space": space,
                    "item_id": row.item_id,
                    "version": row.version,
                    "context": vector.astype("<f4").tobytes(),
                    "inferred": False,
                }
                for row, vector in zip(lacking, vectors, strict=True)
            ]
            committed(engine, partial(_put_contexts, rows=rows))


def vector_of(item_id: str, tags: str, space: int) -> np.ndarray:
    """Near the axis of its topic; in the second space a neighbouring topic's is as near."""
    drawn = np.random.default_rng(list(item_id.encode())).normal(scale=0.15, size=DIM)
    topics = [topic for topic in TOPICS if topic in tags]
    for topic in topics:
        place = TOPICS.index(topic)
        drawn[place] += 1.0
        drawn[(place + 1) % len(TOPICS)] += 0.9 * space
    return np.asarray(drawn / np.linalg.norm(drawn), dtype=np.float32)


def _put_contexts(transaction: Connection, rows: Sequence[dict[str, object]]) -> None:
    change_id = next_change(transaction, CONTEXTS, len(rows))
    numbered = [{**row, "change_id": change_id + place} for place, row in enumerate(rows)]
    upsert(transaction, item_contexts, numbered)


def _fill(engine: Engine, log: EventLog) -> None:
    now = now_micros()
    drafts = [
        ItemDraft(
            item_id=f"{topic}-{number}",
            community_id=community,
            author_id=f"author-{number % 4}",
            title=f"On {topic}, part {number}",
            body=f"What there is to say of {topic}. " * 12,
            tags=(topic, f"part{number % 3}"),
            language="en",
            published_at=from_micros(now - 5 * DAY - number * DAY // 4),
        )
        for community, topics in COMMUNITIES.items()
        for topic in topics
        for number in range(POSTS_OF_A_TOPIC)
    ]
    joined = [(reader, community, now) for reader in READERS for community in ("films", "books")]
    joined += [(reader, "garden", now) for reader in ("fay", "jun", "kay")]

    def fill(transaction: Connection) -> None:
        put_items(transaction, drafts, create_communities=True)
        put_memberships(transaction, joined)

    committed(engine, fill)
    read = [
        Interaction(
            user_id=reader,
            item_id=f"{topic}-{number}",
            kind="read",
            occurred_at=from_micros(now - number * 3_600_000_000),
        )
        for reader, topic in READERS.items()
        for number in range(6)
    ]
    log.append([record_of(event) for event in read])


def _add_space(engine: Engine, store: VectorStore, space: str, *, active: bool) -> None:
    store.create_space(space, DIM)
    now = now_micros()
    manifest = Manifest(
        space=space,
        model="by-tag",
        dim=DIM,
        blocks=(Block(start=0, dim=DIM),),
        created_at=from_micros(now),
        rows={"vectors": POSTS_OF_A_TOPIC * len(TOPICS)},
        metrics={"models": {"by-tag": {"recall@20": {"mean": 0.25}}}},
    )
    row = {"space": space, "state": "ready", "manifest": manifest.model_dump_json(), "run_url": "-"}
    with write_transaction(engine) as transaction:
        transaction.execute(insert(spaces).values(**row, created_at=now, loaded_at=now))
        if active:
            upsert(transaction, active_space, [{"slot": 1, "space": space, "activated_at": now}])


@contextmanager
def _served(app: FastAPI, settings: RecommenderSettings) -> Iterator[str]:
    with closing(bind(settings)) as listener:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield "http://{}:{}".format(*listener.getsockname())
        finally:
            server.should_exit = True
            thread.join(timeout=10)
