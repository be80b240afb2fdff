"""Wires the embedder: settings in, consumer, loops and operations out."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Engine

from nearfeed_backends.opening import open_database, open_log
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.topics import ITEMS
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_embedder.operations import evaluate_models, list_trained, retrain_run, train_run
from nearfeed_embedder.remote_encoder import EncoderChild
from nearfeed_embedder.settings import EmbedderSettings
from nearfeed_embedder.stream import GROUP, PendingPosts, Publisher, handlers
from nearfeed_runtime.consume import Consumer
from nearfeed_runtime.health import Checks, database_answers
from nearfeed_runtime.operations import Operation
from nearfeed_runtime.process import Loop


@dataclass
class Embedder:
    """The wired service. `close` also closes the back ends that were not injected."""

    operations: dict[str, Operation]
    consumers: list[Consumer] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    checks: Checks = field(default_factory=dict)
    publisher: Publisher | None = None
    resources: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self.resources.close()


def bootstrap(
    settings: EmbedderSettings,
    *,
    engine: Engine | None = None,
    log: EventLog | None = None,
    store: VectorStore | None = None,  # noqa: ARG001
    consume: bool = True,
) -> Embedder:
    """The embedder on the back ends of the settings, or on those that are given; it uses no vector store.

    Without `consume` there are operations alone, and no log is opened.
    """
    with ExitStack() as resources:
        if engine is None:
            engine = open_database(settings.database_url)
            resources.callback(engine.dispose)
        embedder = Embedder(
            _operations(settings, engine), checks={"database": partial(database_answers, engine)}
        )
        if consume:
            if log is None:
                log = open_log(settings.log_url)
                resources.callback(log.close)
            child = EncoderChild(settings.device)
            resources.callback(child.close)
            embedder.publisher = _add_stream(embedder, child, engine, log)
            publish = partial(embedder.publisher.run, reconcile_seconds=settings.reconcile_seconds)
            embedder.loops.append(Loop("embedder-publish", publish))
            resources.callback(embedder.consumers[0].close)
        embedder.resources = resources.pop_all()
        return embedder


def _operations(settings: EmbedderSettings, engine: Engine) -> dict[str, Operation]:
    return {
        "train": partial(train_run, settings, engine),
        "retrain": partial(retrain_run, settings, engine),
        "runs": partial(list_trained, settings.runs_url),
        "evaluate": partial(evaluate_models, settings, engine),
    }


def _add_stream(embedder: Embedder, child: EncoderChild, engine: Engine, log: EventLog) -> Publisher:
    """Adds the consumer of posts; what it notes is for the publisher."""
    noted = PendingPosts()
    consumer = Consumer(engine, log, GROUP, [ITEMS.name], handlers(noted, log))
    embedder.consumers.append(consumer)
    embedder.loops.append(Loop("embedder", consumer.run))
    return Publisher(engine, log, child.open, noted)
