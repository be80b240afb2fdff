"""The process `nearfeed-indexer`."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from nearfeed_indexer.bootstrap import bootstrap
from nearfeed_indexer.commands import make_app
from nearfeed_indexer.settings import IndexerSettings
from nearfeed_runtime.logs import configure_logs
from nearfeed_runtime.operations import Step, runner_of
from nearfeed_runtime.process import exit_on_error, opened, run_until_signal
from nearfeed_runtime.settings import load_settings


def main() -> None:
    app = make_app(_run_operation)
    app.command("run")(serve)
    with exit_on_error():
        app()


def serve() -> None:
    """Apply posts and vectors from the log until told to stop."""
    settings = _settings()
    with closing(opened(partial(bootstrap, settings))) as indexer:
        run_until_signal(indexer.loops, health_port=settings.health_port, checks=indexer.checks)


def _run_operation(name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    with closing(bootstrap(_settings(), consume=False)) as indexer:
        yield from runner_of(indexer.operations)(name, arguments)


def _settings() -> IndexerSettings:
    settings = load_settings(IndexerSettings)
    configure_logs(settings.log_level)
    return settings


if __name__ == "__main__":
    main()
