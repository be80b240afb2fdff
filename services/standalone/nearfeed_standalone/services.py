"""All services, wired on one engine, log and store."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypedDict

import structlog
from fastapi import FastAPI
from sqlalchemy import Engine

from nearfeed_backends.opening import open_database, open_log, open_store
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer import bootstrap as indexing
from nearfeed_indexer.settings import IndexerSettings
from nearfeed_recommender.app import bootstrap as recommending
from nearfeed_recommender.infra.secret import load_secret
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.users.run_files import prune_runs
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.operations import Operation, Step
from nearfeed_runtime.process import Loop, every, running
from nearfeed_runtime.settings import Settings, load_settings
from nearfeed_standalone.consumers import ConsumerProcess
from nearfeed_standalone.flow import Flow
from nearfeed_standalone.importing.operation import Importer
from nearfeed_standalone.settings import StandaloneSettings

logger = structlog.get_logger(__name__)
IMPORTS = "imports"
_UPKEEP_SECONDS = 3_600.0
_EMBEDDER_NEEDS = ("torch", "dgl", "transformers")


class BackEnds(TypedDict):
    """What every service's bootstrap takes."""

    engine: Engine
    log: EventLog
    store: VectorStore


class Service(Protocol):
    """What every service's bootstrap returns."""

    @property
    def consumers(self) -> list[Consumer]: ...
    @property
    def operations(self) -> dict[str, Operation]: ...


@dataclass(frozen=True)
class Services:
    """The wired services.

    `loops`, and a process for the recommender's consumers, do in the background what `flow` does on demand.
    """

    settings: RecommenderSettings
    back_ends: BackEnds
    flow: Flow
    app: FastAPI
    loops: list[Loop] = field(default_factory=list)
    operations: dict[str, Operation] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return self.back_ends["engine"]


def has_embedder() -> bool:
    """Whether the embedder's extra is installed."""
    return all(find_spec(name) is not None for name in _EMBEDDER_NEEDS)


@contextmanager
def open_services(data_dir: Path) -> Iterator[Services]:
    """Opens the back ends once and wires all services on them; this process must hold the folder.

    Raises BackendSettingError and SettingsError.
    """
    with ExitStack() as resources:
        services = _with_recommender(load_settings(RecommenderSettings, data_dir=data_dir), resources)
        _add_indexer(services, resources)
        if has_embedder():
            _add_embedder(services, resources)
        _add_import(services)
        yield services


@contextmanager
def in_loops(services: Services, log_level: str) -> Iterator[None]:
    """Runs the services' loops, and their consumers in a process that logs from `log_level` on.

    Operations leave the events to them meanwhile.
    """
    services.flow.in_loops = True
    try:
        with closing(ConsumerProcess(services.settings.data_dir, log_level)) as consumers:
            services.app.state.exposition = consumers.exposition
            with running([*services.loops, Loop("consumers", consumers.run)]):
                yield
    finally:
        services.flow.in_loops = False


def _with_recommender(settings: RecommenderSettings, resources: ExitStack) -> Services:
    back_ends = _open_back_ends(settings, resources)
    recommender = recommending.bootstrap(settings, **back_ends)
    resources.callback(recommender.close)
    flow = Flow(back_ends["engine"], pumps=list(recommender.pumps))
    services = Services(settings, back_ends, flow, recommender.app)
    _add(services, recommender, recommender.api_loops)
    services.loops.append(Loop("log-upkeep", every(_UPKEEP_SECONDS, back_ends["log"].maintain)))
    services.loops.append(Loop("runs-upkeep", every(_UPKEEP_SECONDS, partial(_end_runs, settings.runs_url))))
    return services


def _end_runs(runs_url: str) -> int:
    """Removes runs that have held ids of readers for as long as they may."""
    return len(list(prune_runs(runs_url, datetime.now(UTC))))


def _open_back_ends(settings: Settings, resources: ExitStack) -> BackEnds:
    engine = open_database(settings.database_url)
    resources.callback(engine.dispose)
    log = open_log(settings.log_url)
    resources.callback(log.close)
    store = open_store(settings.vectors_url)
    resources.callback(store.close)
    return {"engine": engine, "log": log, "store": store}


def _add_indexer(services: Services, resources: ExitStack) -> None:
    settings = load_settings(IndexerSettings, data_dir=services.settings.data_dir)
    indexer = indexing.bootstrap(settings, **services.back_ends, pump=services.flow.pump_or_rest)
    resources.callback(indexer.close)
    _add(services, indexer, indexer.loops)


def _add_embedder(services: Services, resources: ExitStack) -> None:
    from nearfeed_embedder import bootstrap as embedding
    from nearfeed_embedder.settings import EmbedderSettings

    settings = load_settings(EmbedderSettings, data_dir=services.settings.data_dir)
    embedder = embedding.bootstrap(settings, **services.back_ends)
    resources.callback(embedder.close)
    if embedder.publisher is not None:
        services.flow.pumps.append(partial(_tried, embedder.publisher.publish_pending))
        services.flow.last_pumps.append(partial(_tried, embedder.publisher.reconcile))
    _add(services, embedder, embedder.loops)


def _tried(publish: Callable[[], int]) -> int:
    """As in the embedder's own loop, a run that cannot encode keeps nothing else from going on."""
    try:
        return publish()
    except Exception as error:
        logger.warning("vectors could not be published", error=str(error))
        return 0


def _add(services: Services, service: Service, loops: Iterable[Loop]) -> None:
    services.flow.consumers.extend(service.consumers)
    services.loops.extend(loops)
    services.operations.update(service.operations)


def _add_import(services: Services) -> None:
    folder = services.settings.data_dir.absolute() / IMPORTS
    importer = Importer(
        services.engine,
        services.back_ends["log"],
        folder,
        load_secret(services.settings),
        load_settings(StandaloneSettings, data_dir=services.settings.data_dir).import_batch,
    )
    services.operations["import"] = partial(import_file, importer, services.flow)
    services.operations["import.database"] = partial(import_database, importer, services.flow)


def import_file(importer: Importer, flow: Flow, kind: str, path: str) -> Iterator[Step]:
    """Takes a file in, and ends when its rows have passed through the services."""
    yield from importer.run(kind, path)
    yield from flow.settle()


def import_database(
    importer: Importer, flow: Flow, url: str, map_path: str, anew: bool = False
) -> Iterator[Step]:
    """Takes in what an app's database has, and ends when its rows have passed through the services."""
    yield from importer.run_database(url, map_path, anew)
    yield from flow.settle()
