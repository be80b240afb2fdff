"""`nearfeed import`: files of items, interactions or memberships."""

from pathlib import Path
from typing import Annotated

import typer

from nearfeed_runtime.operations import Runner, show

File = Annotated[Path, typer.Argument(help="A .parquet, .csv or .jsonl file.", show_default=False)]
_TIMES = "Times are ISO 8601 with a zone, or seconds since 1970."


def make_app(run: Runner) -> typer.Typer:
    """The commands `items`, `interactions` and `memberships`."""
    app = typer.Typer(no_args_is_help=True)

    def take_in(kind: str, path: Path) -> None:
        show(run("import", {"kind": kind, "path": str(path.absolute())}))

    @app.command(
        short_help="Posts: id, community, author, title, text, tags, time.",
        help="Columns: item_id, community_id, author_id, title, published_at; body, tags (a list, or text "
        f"with | between), language and url may be missing. {_TIMES}",
    )
    def items(file: File) -> None:
        take_in("items", file)

    @app.command(
        short_help="Who did what with which post, and when.",
        help="Columns: user_id, item_id, kind (click, read, like, ...), occurred_at; value for kind rating. "
        f"{_TIMES}",
    )
    def interactions(file: File) -> None:
        take_in("interactions", file)

    @app.command(
        short_help="Who has joined which community.",
        help=f"Columns: user_id, community_id; joined_at may be missing. {_TIMES}",
    )
    def memberships(file: File) -> None:
        take_in("memberships", file)

    return app
