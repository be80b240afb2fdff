"""The embedder's commands, the same in its own process and in `nearfeed`."""

from typing import Annotated

import typer

from nearfeed_runtime.operations import Runner, show


def make_app(run: Runner) -> typer.Typer:
    """An app with `train` and `runs`, whose operations `run` carries out."""
    app = typer.Typer(no_args_is_help=True)

    @app.command()
    def train(
        epochs: Annotated[int | None, typer.Option(min=1, help="passes over the readers, at most")] = None,
        text_epochs: Annotated[int | None, typer.Option(min=0, help="passes over the texts")] = None,
        dim: Annotated[int | None, typer.Option(min=2, help="dimensions of a vector")] = None,
        seed: Annotated[int | None, typer.Option(min=0, help="seed of everything random")] = None,
        force: Annotated[bool, typer.Option("--force", help="write a run even below popularity")] = False,
    ) -> None:
        """Train on all posts and readings, evaluate, and write a run."""
        arguments = {"epochs": epochs, "text_epochs": text_epochs, "dim": dim, "seed": seed, "force": force}
        show(run("train", arguments))

    @app.command()
    def runs() -> None:
        """List runs with their metrics."""
        show(run("runs", {}))

    return app
