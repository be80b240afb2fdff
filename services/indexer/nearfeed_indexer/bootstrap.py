"""Wires the indexer: settings in, consumers, loops and operations out."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Engine

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer.applying import GROUP, TOPICS, handlers
from nearfeed_indexer.dropping import drop_space, reconcile_store
from nearfeed_indexer.loading import Loader, load_run
from nearfeed_indexer.restoring import restore_spaces
from nearfeed_indexer.settings import IndexerSettings
from nearfeed_indexer.spaces import activate_space, list_spaces, roll_back
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.health import Checks, database_answers
from nearfeed_runtime.operations import Operation
from nearfeed_runtime.process import Loop

_PAUSE_SECONDS = 0.1  # a writer that waits for SQLite's lock looks at least this often


def _pause() -> None:
    time.sleep(_PAUSE_SECONDS)


@dataclass
class Indexer:
    """The wired service. `close` also closes the back ends that were not injected."""

    operations: dict[str, Operation]
    consumers: list[Consumer] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    checks: Checks = field(default_factory=dict)
    resources: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self.resources.close()


def bootstrap(
    settings: IndexerSettings,
    *,
    engine: Engine | None = None,
    log: EventLog | None = None,
    store: VectorStore | None = None,
    pump: Callable[[], None] = _pause,
    consume: bool = True,
) -> Indexer:
    """The indexer on the back ends of the settings, or on those that are given.

    `pump` is called again and again while a run is loaded: a process that runs the other services in
    the same thread drains their consumers there. Without `consume` there are operations alone, and
    no log is opened.
    """
    with ExitStack() as resources:
        if engine is None:
            engine = open_database(settings.database_url)
            resources.callback(engine.dispose)
        if store is None:
            store = open_store(settings.vectors_url)
            resources.callback(store.close)
        loader = Loader(engine, store, settings.runs_url, settings.ready_seconds, pump, settings.load_batch)
        indexer = Indexer(_operations(loader), checks={"database": partial(database_answers, engine)})
        if consume:
            if log is None:
                log = open_log(settings.log_url)
                resources.callback(log.close)
            reconcile_store(engine, store)
            consumer = Consumer(engine, log, GROUP, TOPICS, handlers(store))
            resources.callback(consumer.close)
            indexer.consumers.append(consumer)
            indexer.loops.append(Loop("indexer", consumer.run))
        indexer.resources = resources.pop_all()
        return indexer


def _operations(loader: Loader) -> dict[str, Operation]:
    return {
        "load": partial(load_run, loader),
        "spaces.restore": partial(restore_spaces, loader),
        "spaces.list": partial(list_spaces, loader.engine),
        "spaces.activate": partial(activate_space, loader.engine),
        "spaces.rollback": partial(roll_back, loader.engine),
        "spaces.drop": partial(drop_space, loader.engine, loader.store),
    }
