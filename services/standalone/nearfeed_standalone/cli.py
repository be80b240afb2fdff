"""The command line `nearfeed`: all services' commands in one."""

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from nearfeed_indexer import commands as indexing
from nearfeed_recommender.access.audit_commands import add_audit
from nearfeed_recommender.access.keys import commands as keeping_keys
from nearfeed_recommender.config import commands as configuring
from nearfeed_recommender.experiments import commands as experimenting
from nearfeed_recommender.space_maps import commands as mapping_spaces
from nearfeed_recommender.users import erasure_cli as erasing
from nearfeed_runtime.operations import Step
from nearfeed_runtime.settings import Settings, load_settings
from nearfeed_standalone.demo.commands import demo
from nearfeed_standalone.importing import commands as importing
from nearfeed_standalone.pipeline import commands as pipelines
from nearfeed_standalone.quiet import log_warnings_alone

START = "Start"
DATA = "Data"
MODELS = "Models and spaces"
ACCESS = "Access"

DataDir = Annotated[
    Path | None,
    typer.Option(help="Data folder; NEARFEED_DATA_DIR or nearfeed-data by default."),
]


def make_app() -> typer.Typer:
    """The commands of this package and of the services that are installed."""
    app = typer.Typer(
        no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode="rich"
    )
    app.callback()(_options)
    app.command(rich_help_panel=START)(demo)
    app.command(rich_help_panel=START)(serve)
    app.add_typer(
        importing.make_app(_run),
        name="import",
        rich_help_panel=DATA,
        short_help="Import posts, events and memberships from files or a database.",
    )
    app.command(rich_help_panel=DATA)(migrate)
    if find_spec("torch") and find_spec("dgl"):
        from nearfeed_embedder import commands as embedding

        _mount(app, embedding.make_app(_run))
    _mount(app, indexing.make_app(_run))
    _mount(app, mapping_spaces.make_app(_run))
    app.add_typer(configuring.make_app(_run), name="config", rich_help_panel=MODELS)
    app.add_typer(experimenting.make_app(_run), name="experiments", rich_help_panel=MODELS)
    app.add_typer(keeping_keys.make_app(_run), name="keys", rich_help_panel=ACCESS)
    app.add_typer(erasing.make_app(_run), name="erasure", rich_help_panel=DATA)
    add_audit(app, _run, rich_help_panel=ACCESS)
    app.add_typer(pipelines.make_app(_data_dir), name="pipeline", rich_help_panel=MODELS)
    return app


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; other than loopback needs keys.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the API.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve the API with all services in this process."""
    from nearfeed_standalone.serve import serve_folder

    _choose_folder(data_dir)
    serve_folder(_data_dir(), host, port)


def migrate() -> None:
    """Bring the database to the newest schema."""
    from nearfeed_backends.opening import open_database

    engine = open_database(load_settings(Settings).database_url)
    typer.echo(f"{engine.url} has the newest schema.")
    engine.dispose()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nearfeed {version('nearfeed')}")
        raise typer.Exit


def _options(
    context: typer.Context,
    data_dir: DataDir = None,
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """Nearfeed: personal feeds for community apps, all services in one process."""
    context.obj = data_dir
    _choose_folder(data_dir)


def _choose_folder(data_dir: Path | None) -> None:
    if data_dir is not None:
        os.environ["NEARFEED_DATA_DIR"] = str(data_dir)


def _data_dir() -> Path:
    return load_settings(Settings).data_dir


def _run(name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
    """Opening the services takes a second, which `--help` need not."""
    from nearfeed_standalone.running import make_runner

    log_warnings_alone()
    yield from make_runner(_data_dir())(name, arguments)


def _mount(app: typer.Typer, service: typer.Typer) -> None:
    for command in service.registered_commands:
        command.rich_help_panel = MODELS
    for group in service.registered_groups:
        group.rich_help_panel = MODELS
    app.add_typer(service)
