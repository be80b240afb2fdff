"""Settings in, wired recommender out; every part may be injected."""

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.topics import INTERACTIONS
from nearfeed_contracts.vector_store import StoreUnavailableError, VectorStore
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender import app_topics, served, upkeep
from nearfeed_recommender.api.app import create_app
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.callers import Access, open_access
from nearfeed_recommender.config.changing import ConfigStore
from nearfeed_recommender.config.checks import default_config
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.config.operations import config_operations
from nearfeed_recommender.consuming import GROUP, handlers
from nearfeed_recommender.context import ApiContext
from nearfeed_recommender.erasure_check import erasure_operations
from nearfeed_recommender.experiments.live import LiveExperiments
from nearfeed_recommender.experiments.operations import experiment_operations
from nearfeed_recommender.experiments.store import ExperimentStore
from nearfeed_recommender.experiments.watching import watch
from nearfeed_recommender.graphql.sources import graph_sources
from nearfeed_recommender.keys.live import LiveKeys
from nearfeed_recommender.keys.operations import key_operations
from nearfeed_recommender.keys.rows import has_live_keys
from nearfeed_recommender.late_store import LateStore
from nearfeed_recommender.ledger import Ledger
from nearfeed_recommender.ledger_views import tell_missing
from nearfeed_recommender.losses import keep_loss
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.newcomers import Newcomers
from nearfeed_recommender.outbox import Relay
from nearfeed_recommender.outcomes import Joining
from nearfeed_recommender.popularity import Popularity
from nearfeed_recommender.profiles import ContextCache
from nearfeed_recommender.providers.contexts import KeptBySpace, kept_contexts
from nearfeed_recommender.providers.facts import kept_facts
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.space_maps.making import map_space
from nearfeed_recommender.user_vectors import Pooling
from nearfeed_runtime.auditing import list_audit
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.health import Checks, database_answers
from nearfeed_runtime.operations import Operation
from nearfeed_runtime.process import Loop, every
from nearfeed_runtime.sql import reading

_POPULARITY_SECONDS = 15.0
_CONFIG_SECONDS = 0.5
_EXPERIMENTS_SECONDS = 0.5
_WATCH_SECONDS = 15.0
_KEYS_SECONDS = 0.5
_MODELS_SECONDS = 0.5
_EDGES_SECONDS = 1.0
_PRUNE_SECONDS = 60.0
_EMBEDDED_SECONDS = 5.0
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


def keys_in_sql(settings: RecommenderSettings) -> bool:
    """Whether SQL has a key that holds; asked before anything else is opened."""
    engine = open_database(settings.database_url)
    try:
        with reading(engine) as connection:
            return has_live_keys(connection)
    finally:
        engine.dispose()


@contextmanager
def operations_alone(settings: RecommenderSettings) -> Iterator[dict[str, Operation]]:
    """The operations without API, consumer, log and vector store, for a command."""
    engine = open_database(settings.database_url)
    try:
        configuration = _config_store(settings, engine)
        yield _operations(settings, configuration, _experiment_store(configuration), LiveKeys(engine))
    finally:
        engine.dispose()


def _operations(
    settings: RecommenderSettings, configuration: ConfigStore, trials: ExperimentStore, keys: LiveKeys
) -> dict[str, Operation]:
    engine = configuration.engine
    return {
        **config_operations(configuration),
        **experiment_operations(trials),
        **key_operations(engine, keys),
        **erasure_operations(
            engine, settings.runs_url, load_secret(settings), has_app_topics=bool(settings.topic_map)
        ),
        "audit.list": partial(list_audit, engine),
        "map": partial(map_space, engine, settings.runs_url),
    }


def _config_store(settings: RecommenderSettings, engine: Engine) -> ConfigStore:
    """What is served, as it is now."""
    live = LiveConfig(engine, default_config())
    live.refresh()
    return ConfigStore(engine, settings.runs_url, live)


def _experiment_store(configuration: ConfigStore) -> ExperimentStore:
    """The experiments, as they are now."""
    live = LiveExperiments(configuration.engine)
    live.refresh()
    return ExperimentStore(configuration.engine, live, configuration)


def _open_store(url: str) -> VectorStore:
    try:
        return open_store(url)
    except StoreUnavailableError as error:
        return LateStore(partial(open_store, url), error)


def _wire(settings: RecommenderSettings, engine: Engine, log: EventLog, store: VectorStore) -> Recommender:
    secret = load_secret(settings)
    joining = Joining(secret, int(settings.attribution_hours * HOUR_MICROS))
    pooling = Pooling(settings.weight_rule, ContextCache())
    configuration = _config_store(settings, engine)
    trials = _experiment_store(configuration)
    access = open_access(settings, engine)
    serving = _serving(settings, engine, log, store, secret, pooling, trials)
    relay = Relay(engine, log)
    consumers = {
        "interactions": Consumer(engine, log, GROUP, [INTERACTIONS.name], handlers(pooling, joining)),
        "ledger": Consumer(
            engine,
            log,
            served.GROUP,
            served.TOPICS,
            served.handlers(joining),
            read=served.events_read,
            in_order=False,
        ),
    }
    if settings.topic_map:
        consumers["app-topics"] = app_topics.open_consumer(Path(settings.topic_map), engine, log, secret)
    mend = threading.Lock()

    def keep_up() -> int:
        with mend:
            return upkeep.run_once(engine, pooling)

    def close() -> None:
        for consumer in consumers.values():
            consumer.close()

    return Recommender(
        app=create_app(
            ApiContext(
                settings=settings,
                engine=engine,
                log=log,
                store=store,
                serving=serving,
                relay=relay,
                configuration=configuration,
                experiments=trials,
                graph=graph_sources(serving),
                access=access,
                joining=joining,
            )
        ),
        consumers=list(consumers.values()),
        api_loops=[
            Loop("relay", relay.run),
            Loop("ledger-notes", serving.ledger.run),
            *_access_loops(access),
            Loop("config", every(_CONFIG_SECONDS, serving.config.refresh)),
            Loop("experiments", every(_EXPERIMENTS_SECONDS, serving.experiments.refresh)),
            Loop("models", every(_MODELS_SECONDS, serving.models.refresh_if_due)),
            Loop("graph-edges", every(_EDGES_SECONDS, serving.models.follow)),
            Loop("popularity", every(_POPULARITY_SECONDS, serving.popularity.follow)),
            Loop("newcomers", every(_POPULARITY_SECONDS, serving.newcomers.refresh)),
        ],
        consumer_loops=[
            *(Loop(name, consumer.run) for name, consumer in consumers.items()),
            Loop("upkeep", every(_UPKEEP_SECONDS, keep_up)),
            Loop("experiments-watch", every(_WATCH_SECONDS, partial(watch, trials))),
            Loop("ledger-prune", every(_PRUNE_SECONDS, partial(served.prune_all, engine))),
            Loop("ledger-missing", every(_PRUNE_SECONDS, partial(tell_missing, engine))),
        ],
        pumps=[relay.run_once, serving.ledger.flush, keep_up],
        operations=_operations(settings, configuration, trials, access.keys),
        checks={"database": partial(database_answers, engine)},
        close=close,
    )


def _access_loops(access: Access) -> list[Loop]:
    keys = Loop("keys", every(_KEYS_SECONDS, access.keys.refresh))
    return [keys] if access.key_set is None else [keys, Loop("token-keys", access.key_set.run)]


def _serving(
    settings: RecommenderSettings,
    engine: Engine,
    log: EventLog,
    store: VectorStore,
    secret: bytes,
    pooling: Pooling,
    trials: ExperimentStore,
) -> Serving:
    config = trials.configuration.live
    search_seconds = _search_seconds(settings)
    return Serving(
        engine=engine,
        store=store,
        breaker=StoreBreaker(search_seconds),
        config=config,
        experiments=trials.live,
        models=Registry(engine, settings.runs_url, config),
        popularity=Popularity(engine),
        newcomers=Newcomers(engine),
        pooling=pooling,
        facts=kept_facts(engine),
        contexts=kept_contexts(engine, pooling),
        vectors=KeptBySpace(store.fetch),
        ledger=Ledger(log, settings.data_dir / "ledger", partial(keep_loss, engine)),
        secret=secret,
        page_ttl_micros=int(settings.page_ttl_minutes * 60_000_000),
        deadline_seconds=search_seconds or _EMBEDDED_SECONDS,
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
