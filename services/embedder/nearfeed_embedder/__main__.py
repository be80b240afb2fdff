"""The process `nearfeed-embedder`."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from nearfeed_embedder.bootstrap import bootstrap
from nearfeed_embedder.commands import make_app
from nearfeed_embedder.settings import EmbedderSettings
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
    """Give vectors to new posts until told to stop."""
    settings = _settings()
    with closing(opened(partial(bootstrap, settings))) as embedder:
        run_until_signal(embedder.loops, health_port=settings.health_port, checks=embedder.checks)


def _run_operation(name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    with closing(bootstrap(_settings(), consume=False)) as embedder:
        yield from runner_of(embedder.operations)(name, arguments)


def _settings() -> EmbedderSettings:
    settings = load_settings(EmbedderSettings)
    configure_logs(settings.log_level)
    return settings


if __name__ == "__main__":
    main()
