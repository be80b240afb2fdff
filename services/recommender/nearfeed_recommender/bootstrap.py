"""Settings in, wired recommender out; every part may be injected."""

import os
import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.topics import INTERACTIONS
from nearfeed_contracts.vector_store import StoreUnavailableError, VectorStore
from nearfeed_recommender import app_topics, upkeep
from nearfeed_recommender.api.app import create_app
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.consuming import GROUP, handlers
from nearfeed_recommender.context import ApiContext
from nearfeed_recommender.feed import FeedSources
from nearfeed_recommender.graphql.sources import default_sources
from nearfeed_recommender.late_store import LateStore
from nearfeed_recommender.outbox import Relay
from nearfeed_recommender.popularity import Popularity
from nearfeed_recommender.profiles import ContextCache
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.user_vectors import Pooling
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.health import Checks, database_answers
from nearfeed_runtime.operations import Operation
from nearfeed_runtime.process import Loop, every

_POPULARITY_SECONDS = 15.0
_UPKEEP_SECONDS = 1.0
_IN_PROCESS = ("milvus-lite:", "memory:")


@dataclass(frozen=True)
class Recommender:
    """The wired service. `pumps` do what is due once and return how much it was (0: nothing)."""

    app: FastAPI
    consumers: list[Consumer]
    api_loops: list[Loop]
    consumer_loops: list[Loop]
    pumps: list[Callable[[], int]]
    operations: dict[str, Operation]
    checks: Checks
    close: Callable[[], None]

    @property
    def loops(self) -> list[Loop]:
        """All loops, for a process that is both API and consumer."""
        return [*self.api_loops, *self.consumer_loops]


def bootstrap(
    settings: RecommenderSettings,
    *,
    engine: Engine | None = None,
    log: EventLog | None = None,
    store: VectorStore | None = None,
) -> Recommender:
    """Wires the recommender; what is not injected is opened by its URL, and closed by `close`."""
    with ExitStack() as resources:
        if engine is None:
            engine = open_database(settings.database_url)
            resources.callback(engine.dispose)
        if log is None:
            log = open_log(settings.log_url)
            resources.callback(log.close)
        if store is None:
            store = _open_store(settings.vectors_url)
            resources.callback(store.close)
        service = _wire(settings, engine, log, store)
        resources.callback(service.close)
        if isinstance(store, LateStore):
            service.api_loops.append(Loop("vectors", store.run))
        return replace(service, close=resources.pop_all().close)


def bootstrap_consumer(settings: RecommenderSettings) -> Recommender:
    """The recommender without a vector store: a consumer searches nothing, and starts where none answers."""
    return bootstrap(settings, store=open_store("memory://"))


def migrate_database(settings: RecommenderSettings) -> None:
    """Brings the database to the newest schema, as every opening does."""
    open_database(settings.database_url).dispose()


def _open_store(url: str) -> VectorStore:
    try:
        return open_store(url)
    except StoreUnavailableError as error:
        return LateStore(partial(open_store, url), error)


def _wire(settings: RecommenderSettings, engine: Engine, log: EventLog, store: VectorStore) -> Recommender:
    secret = load_secret(settings)
    pooling = Pooling(settings.weight_rule, ContextCache())
    popularity = Popularity(engine, settings.popular_days)
    relay = Relay(engine, log)
    consumers = {"interactions": Consumer(engine, log, GROUP, [INTERACTIONS.name], handlers(pooling, secret))}
    if settings.topic_map:
        consumers["app-topics"] = app_topics.open_consumer(Path(settings.topic_map), engine, log, secret)
    feed = FeedSources(
        engine=engine,
        store=store,
        breaker=StoreBreaker(_search_seconds(settings)),
        popularity=popularity,
        pooling=pooling,
        secret=secret,
        depth=settings.feed_depth,
        page_ttl_micros=int(settings.page_ttl_minutes * 60_000_000),
        new_micros=int(settings.new_hours * 3_600_000_000),
    )
    mend = threading.Lock()

    def keep_up() -> int:
        with mend:
            return upkeep.run_once(engine, pooling)

    def close() -> None:
        for consumer in consumers.values():
            consumer.close()

    return Recommender(
        app=create_app(ApiContext(settings, engine, log, store, feed, relay, default_sources(feed))),
        consumers=list(consumers.values()),
        api_loops=[
            Loop("relay", relay.run),
            Loop("popularity", every(_POPULARITY_SECONDS, popularity.refresh)),
        ],
        consumer_loops=[
            *(Loop(name, consumer.run) for name, consumer in consumers.items()),
            Loop("upkeep", every(_UPKEEP_SECONDS, keep_up)),
        ],
        pumps=[relay.run_once, keep_up],
        operations={},
        checks={"database": partial(database_answers, engine)},
        close=close,
    )


def _search_seconds(settings: RecommenderSettings) -> float | None:
    """A store in this process cannot be cut off, and is slow only where all is."""
    in_process = settings.vectors_url.startswith(_IN_PROCESS)
    return None if in_process else settings.search_timeout_ms / 1_000


def load_secret(settings: RecommenderSettings) -> bytes:
    """The key of cursors and hashes: the setting, or one that is made once in the data folder."""
    if settings.secret:
        return settings.secret.encode()
    path: Path = settings.data_dir / "secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(fresh, path)  # the first of several processes wins
        fresh.unlink()
    return path.read_text().encode()
