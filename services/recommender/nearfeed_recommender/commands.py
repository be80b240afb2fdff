"""The recommender's own commands: the API and the consumer are two processes of one image."""

import typer

from nearfeed_recommender.bootstrap import bootstrap
from nearfeed_recommender.serving import bind, serve
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_runtime.logs import configure_logs
from nearfeed_runtime.process import run_until_signal, running
from nearfeed_runtime.settings import load_settings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Feed API and event consumer.")


@app.command()
def api(host: str | None = None, port: int | None = None) -> None:
    """Serve the HTTP API."""
    settings = load_settings(RecommenderSettings, host=host, port=port)
    configure_logs(settings.log_level)
    listener = bind(settings)
    service = bootstrap(settings)
    with running(service.api_loops):
        serve(service.app, listener)
    service.close()


@app.command()
def consume() -> None:
    """Turn events into rows and user vectors."""
    settings = load_settings(RecommenderSettings)
    configure_logs(settings.log_level)
    service = bootstrap(settings)
    run_until_signal(service.consumer_loops)
    service.close()
