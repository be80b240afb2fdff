"""The recommender's own commands: the API and the consumer are two processes of one image."""

import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import structlog
import typer

from nearfeed_recommender.access.audit_commands import add_audit
from nearfeed_recommender.access.keys import commands as keeping_keys
from nearfeed_recommender.app.bootstrap import (
    bootstrap,
    bootstrap_consumer,
    keys_in_sql,
    migrate_database,
    operations_alone,
)
from nearfeed_recommender.app.server import BACKLOG, bind, check_workers, serve
from nearfeed_recommender.app.workers import supervise_workers
from nearfeed_recommender.config import commands as configuring
from nearfeed_recommender.experiments import commands as experimenting
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.space_maps import commands as mapping_spaces
from nearfeed_recommender.users import erasure_cli as erasing
from nearfeed_runtime.logs import configure_logs
from nearfeed_runtime.operations import Step, runner_of
from nearfeed_runtime.process import opened, run_until_signal, running
from nearfeed_runtime.settings import load_settings
from nearfeed_runtime.supervising import end_with

logger = structlog.get_logger(__name__)
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Feed API and event consumer.")


@app.command()
def api(host: str | None = None, port: int | None = None) -> None:
    """Serve the HTTP API."""
    settings = load_settings(RecommenderSettings, host=host, port=port)
    configure_logs(settings.log_level)
    check_workers(settings)
    with closing(opened(partial(bind, settings, keys_in_sql))) as listener:
        if settings.api_workers == 1:
            _serve(settings, listener)
            return
        migrate_database(settings)
        listener.listen(BACKLOG)
        logger.info("started", address=_address(listener), workers=settings.api_workers)
        supervise_workers(
            listener, [sys.executable, "-m", "nearfeed_recommender", "api-worker"], settings.api_workers
        )
        logger.info("stopped")


@app.command(hidden=True)
def api_worker(listener: int, parent: int) -> None:
    """One of several processes of the API; started by `api`."""
    end_with(parent)
    settings = load_settings(RecommenderSettings)
    configure_logs(settings.log_level)
    with closing(socket.socket(fileno=listener)) as inherited:
        _serve(settings, inherited)


def _serve(settings: RecommenderSettings, listener: socket.socket) -> None:
    with closing(opened(partial(bootstrap, settings))) as service:
        # The server ends in order on SIGTERM and raises it again then, which must not cut short the loops.
        signal.signal(signal.SIGTERM, lambda *_: None)
        with running(service.api_loops):
            logger.info("started", address=_address(listener))
            serve(service.app, listener)
        logger.info("stopped")


def _address(listener: socket.socket) -> str:
    return "{}:{}".format(*listener.getsockname()[:2])


@app.command()
def consume() -> None:
    """Turn events into rows and user vectors."""
    settings = load_settings(RecommenderSettings)
    configure_logs(settings.log_level)
    with closing(opened(partial(bootstrap_consumer, settings))) as service:
        run_until_signal(service.consumer_loops, health_port=settings.health_port, checks=service.checks)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema; the other processes do so too when they start."""
    migrate_database(load_settings(RecommenderSettings))
    sys.stdout.write("The database has the newest schema.\n")


def _run(name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    settings = load_settings(RecommenderSettings)
    configure_logs(settings.log_level)
    with operations_alone(settings) as operations:
        yield from runner_of(operations)(name, arguments)


add_audit(app, _run)
app.add_typer(keeping_keys.make_app(_run), name="keys")
app.add_typer(configuring.make_app(_run), name="config")
app.add_typer(erasing.make_app(_run), name="erasure")
app.add_typer(experimenting.make_app(_run), name="experiments")
app.add_typer(mapping_spaces.make_app(_run))
