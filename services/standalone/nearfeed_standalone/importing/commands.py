"""`nearfeed import`: files of one kind of data, or an app's database."""

from pathlib import Path
from typing import Annotated

import typer

from nearfeed_runtime.operations import Runner, show

File = Annotated[Path, typer.Argument(help="A .parquet, .csv or .jsonl file.", show_default=False)]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="URL",
        envvar="NEARFEED_IMPORT_FROM",
        help="The app's database: mysql+mysqlconnector://USER:PASSWORD@HOST/NAME, or another SQLAlchemy URL.",
    ),
]
Map = Annotated[Path | None, typer.Option("--map", help="YAML file that says what its columns mean.")]
Anew = Annotated[bool, typer.Option("--anew", help="Read everything again, not only what is new.")]
_TIMES = "Times are ISO 8601 with a zone, or seconds since 1970."


def make_app(run: Runner) -> typer.Typer:
    """A command for each kind of file, and `--from URL --map FILE`."""
    app = typer.Typer()
    _add_database(app, run)
    _add_files(app, run)
    _add_graph_files(app, run)
    return app


def _add_database(app: typer.Typer, run: Runner) -> None:
    @app.callback(
        invoke_without_command=True,
        help="Take in items, interactions, memberships, vertices or edges from Parquet, CSV or JSON lines, "
        "or what an app's own database has of the first three with --from URL --map FILE.",
    )
    def database(context: typer.Context, url: From = None, map_: Map = None, anew: Anew = False) -> None:
        if context.invoked_subcommand is not None:
            if map_ is not None or anew:
                raise typer.BadParameter("--from, --map and --anew stand alone, without a kind and a file.")
        elif map_ is not None and url is not None:
            _take_in_database(run, url, map_, anew)
        elif map_ is not None or anew or url is not None:
            raise typer.BadParameter("an app's database needs both --from URL and --map FILE.")
        else:
            typer.echo(context.get_help())
            raise typer.Exit(2)


def _take_in_database(run: Runner, url: str, map_: Path, anew: bool) -> None:
    from nearfeed_standalone.importing.app_engine import absolute_url

    arguments = {"url": absolute_url(url), "map_path": str(map_.absolute()), "anew": anew}
    show(run("import.database", arguments))


def _take_in(run: Runner, kind: str, path: Path) -> None:
    show(run("import", {"kind": kind, "path": str(path.absolute())}))


def _add_files(app: typer.Typer, run: Runner) -> None:
    @app.command(
        short_help="Posts: id, community, author, title, text, tags, time.",
        help="Columns: item_id, community_id, author_id, title, published_at; body, tags (a list, or text "
        f"with | between), language and url may be missing. {_TIMES}",
    )
    def items(file: File) -> None:
        _take_in(run, "items", file)

    @app.command(short_help="Posts that are gone.", help="Column: item_id.")
    def deletions(file: File) -> None:
        _take_in(run, "deletions", file)

    @app.command(
        short_help="Events: user, post, kind, time.",
        help="Columns: user_id, item_id, kind (click, read, like, ...), occurred_at; value for kind rating. "
        f"{_TIMES}",
    )
    def interactions(file: File) -> None:
        _take_in(run, "interactions", file)

    @app.command(
        short_help="Memberships: user and community.",
        help=f"Columns: user_id, community_id; joined_at may be missing. {_TIMES}",
    )
    def memberships(file: File) -> None:
        _take_in(run, "memberships", file)


def _add_graph_files(app: typer.Typer, run: Runner) -> None:
    @app.command(
        short_help="Vertices: what an app has besides posts and users, by kind.",
        help="Columns: kind, vertex_id; properties (a JSON object) may be missing.",
    )
    def vertices(file: File) -> None:
        _take_in(run, "vertices", file)

    @app.command(
        short_help="Edges between ids, by label.",
        help="Columns: label, from_id, to_id; score (1 where it is missing) and properties (a JSON object) "
        "may be missing.",
    )
    def edges(file: File) -> None:
        _take_in(run, "edges", file)
