"""Settings in, wired recommender out; every part may be injected."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from sqlalchemy import Engine

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.vector_store import StoreUnavailableError, VectorStore
from nearfeed_recommender.access.keys.live import LiveKeys
from nearfeed_recommender.access.keys.rows import has_live_keys
from nearfeed_recommender.app.operations import open_configuration, open_experiments, operations_of
from nearfeed_recommender.app.wiring import Recommender, wire
from nearfeed_recommender.infra.late_store import LateStore
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.operations import Operation
from nearfeed_runtime.process import Loop
from nearfeed_runtime.sql import read_connection


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
        service = wire(settings, engine, log, store)
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
        with read_connection(engine) as connection:
            return has_live_keys(connection)
    finally:
        engine.dispose()


@contextmanager
def operations_alone(settings: RecommenderSettings) -> Iterator[dict[str, Operation]]:
    """The operations without API, consumer, log and vector store, for a command."""
    engine = open_database(settings.database_url)
    try:
        configuration = open_configuration(settings, engine)
        yield operations_of(settings, configuration, open_experiments(configuration), LiveKeys(engine))
    finally:
        engine.dispose()


def _open_store(url: str) -> VectorStore:
    try:
        return open_store(url)
    except StoreUnavailableError as error:
        return LateStore(partial(open_store, url), error)
