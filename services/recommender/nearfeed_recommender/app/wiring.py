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
from nearfeed_recommender.access.callers import Access, open_access
from nearfeed_recommender.app.api import create_app
from nearfeed_recommender.app.operations import open_configuration, open_experiments, operations_of
from nearfeed_recommender.experiments.monitor import Pace, watch
from nearfeed_recommender.exposure_log import store as served
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings
from nearfeed_recommender.exposure_log.queries import update_missing_gauge
from nearfeed_recommender.exposure_log.writer import ExposureLogWriter, keep_loss
from nearfeed_recommender.graphql.sources import graph_sources
from nearfeed_recommender.http.context import ApiContext
from nearfeed_recommender.infra.outbox import Relay
from nearfeed_recommender.infra.secret import load_secret
from nearfeed_recommender.ingest import consumer as app_topics
from nearfeed_recommender.serving.wiring import wire_answers
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.users import rebuild as upkeep
from nearfeed_recommender.users.consumer import GROUP, handlers
from nearfeed_recommender.users.profiles import Pooling
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.health import Checks, database_answers
from nearfeed_runtime.operations import Operation
from nearfeed_runtime.polling import when_changed
from nearfeed_runtime.process import Loop, every

_CONFIG_SECONDS = 0.5
_EXPERIMENTS_SECONDS = 0.5
_WATCH_SECONDS = 15.0
_KEYS_SECONDS = 0.5
_MODELS_SECONDS = 0.5
_EDGES_SECONDS = 1.0
_PRUNE_SECONDS = 60.0
_UPKEEP_SECONDS = 1.0
_LEDGER_LINGER_SECONDS = 0.5


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
    joining = AttributionSettings(secret, int(settings.attribution_hours * HOUR_MICROS))
    configuration = open_configuration(settings, engine)
    trials = open_experiments(configuration)
    access = open_access(settings, engine)
    exposures = ExposureLogWriter(log, settings.data_dir / "ledger", partial(keep_loss, engine))
    answers = wire_answers(settings, engine, store, trials, exposures, secret)
    pooling = Pooling(settings.weight_rule, answers.embeddings)
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
            linger=_LEDGER_LINGER_SECONDS,
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
                answers=answers,
                pooling=pooling,
                relay=relay,
                configuration=configuration,
                experiments=trials,
                access=access,
                joining=joining,
            ),
            graph_sources(engine, store, answers, configuration.live, pooling.rule),
        ),
        consumers=list(consumers.values()),
        api_loops=[
            Loop("relay", relay.run),
            Loop("exposures", exposures.run),
            *answers.loops,
            *_access_loops(access, engine),
            Loop("config", when_changed(_CONFIG_SECONDS, configuration.live.refresh, engine)),
            Loop("experiments", when_changed(_EXPERIMENTS_SECONDS, trials.live.refresh, engine)),
            Loop("models", every(_MODELS_SECONDS, answers.models.refresh_if_due)),
            Loop("graph-edges", every(_EDGES_SECONDS, answers.models.follow)),
        ],
        consumer_loops=[
            *(Loop(name, consumer.run) for name, consumer in consumers.items()),
            Loop("upkeep", when_changed(_UPKEEP_SECONDS, keep_up, engine)),
            Loop("experiments-watch", every(_WATCH_SECONDS, partial(watch, trials, pace=Pace()))),
            Loop("ledger-prune", every(_PRUNE_SECONDS, partial(served.prune_all, engine))),
            Loop("ledger-missing", every(_PRUNE_SECONDS, partial(update_missing_gauge, engine))),
        ],
        pumps=[relay.run_once, exposures.flush, answers.rankings.flush, keep_up],
        operations=operations_of(settings, configuration, trials, access.keys),
        checks={"database": partial(database_answers, engine)},
        close=close,
    )


def _access_loops(access: Access, engine: Engine) -> list[Loop]:
    keys = Loop("keys", when_changed(_KEYS_SECONDS, access.keys.refresh, engine))
    return [keys] if access.key_set is None else [keys, Loop("token-keys", access.key_set.run)]
