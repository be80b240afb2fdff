"""`nearfeed map`."""

from typing import Annotated

import typer

from nearfeed_recommender.space_maps.maps import MOST_POSTS
from nearfeed_runtime.operations import Runner, show


def make_app(run: Runner) -> typer.Typer:
    """An app with `map`, which `run` carries out."""
    app = typer.Typer()

    @app.command("map")
    def map_(
        space: Annotated[str, typer.Argument(help="name of a space, as `spaces list` shows it")],
        posts: Annotated[int, typer.Option(min=2, help="Maximum number of posts on the map.")] = MOST_POSTS,
    ) -> None:
        """Make the map of a space that the page shows."""
        show(run("map", {"space": space, "most": posts}))

    return app
