"""The parts of the service, wired around its back ends."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import Engine

from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.topics import INTERACTIONS
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender import app_topics
from nearfeed_recommender.access.callers import Access, open_access
from nearfeed_recommender.api.app import create_app
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.context import ApiContext
from nearfeed_recommender.experiments.pacing import Pace
from nearfeed_recommender.experiments.store import ExperimentStore
from nearfeed_recommender.experiments.watching import watch
from nearfeed_recommender.graphql.sources import graph_sources
from nearfeed_recommender.ledger import served
from nearfeed_recommender.ledger.losses import keep_loss
from nearfeed_recommender.ledger.outcomes import Joining
from nearfeed_recommender.ledger.views import tell_missing
from nearfeed_recommender.ledger.writing import Ledger
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.operating import open_configuration, open_experiments, operations_of
from nearfeed_recommender.outbox import Relay
from nearfeed_recommender.providers.contexts import KeptBySpace, kept_contexts
from nearfeed_recommender.providers.facts import kept_facts
from nearfeed_recommender.providers.newcomers import Newcomers
from nearfeed_recommender.providers.popularity import Popularity
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.readers import upkeep
from nearfeed_recommender.readers.consuming import GROUP, handlers
from nearfeed_recommender.readers.profiles import ContextCache
from nearfeed_recommender.readers.user_vectors import Pooling
from nearfeed_recommender.secret import load_secret
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.health import Checks, database_answers
from nearfeed_runtime.operations import Operation
from nearfeed_runtime.process import Loop, every

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


def wire(settings: RecommenderSettings, engine: Engine, log: EventLog, store: VectorStore) -> Recommender:
    """The service around open back ends, which stay the caller's to close."""
    secret = load_secret(settings)
    joining = Joining(secret, int(settings.attribution_hours * HOUR_MICROS))
    pooling = Pooling(settings.weight_rule, ContextCache())
    configuration = open_configuration(settings, engine)
    trials = open_experiments(configuration)
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
            Loop("experiments-watch", every(_WATCH_SECONDS, partial(watch, trials, pace=Pace()))),
            Loop("ledger-prune", every(_PRUNE_SECONDS, partial(served.prune_all, engine))),
            Loop("ledger-missing", every(_PRUNE_SECONDS, partial(tell_missing, engine))),
        ],
        pumps=[relay.run_once, serving.ledger.flush, keep_up],
        operations=operations_of(settings, configuration, trials, access.keys),
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
