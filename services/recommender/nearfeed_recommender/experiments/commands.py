"""`experiments`: providers side by side, by a file that is applied, started, ramped and stopped."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nearfeed_recommender.config.commands import Author, Reason, read_file, user_of
from nearfeed_runtime.operations import Runner, show

_HELP = "Experiments: providers side by side, with honest statistics of which is better."
Name = Annotated[str, typer.Argument(metavar="NAME", help="The experiment, as in `experiments list`.")]


def make_app(run: Runner) -> typer.Typer:
    """The commands `list`, `show`, `apply`, `start`, `ramp` and `stop`, which `run` carries out."""
    app = typer.Typer(no_args_is_help=True, help=_HELP)
    _add_reading(app, run)
    _add_changing(app, run)
    return app


def _add_reading(app: typer.Typer, run: Runner) -> None:
    @app.command("list")
    def list_() -> None:
        """List experiments, newest first."""
        show(run("experiments.list", {}))

    @app.command("show")
    def show_(name: Name) -> None:
        """Show an experiment's design and its arms as they are assigned."""
        show(run("experiments.show", {"name": name}))


def _add_changing(app: typer.Typer, run: Runner) -> None:
    @app.command("apply")
    def apply_(
        file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="A design.")],
        reason: Reason,
        author: Author = None,
    ) -> None:
        """Make an experiment by a file, or change one that has not been started."""
        show(run("experiments.apply", {**read_file(file), **_stated(author, reason)}))

    @app.command()
    def start(name: Name, reason: Reason, author: Author = None) -> None:
        """Serve a draft; every process does within two seconds."""
        show(run("experiments.start", {"name": name, **_stated(author, reason)}))

    @app.command()
    def ramp(
        name: Name,
        traffic: Annotated[
            float, typer.Argument(min=0.001, max=1, help="Its share of the layer, such as 0.5.")
        ],
        reason: Reason,
        author: Author = None,
    ) -> None:
        """Give an experiment more or less traffic: who is in stays in while it grows."""
        show(run("experiments.ramp", {"name": name, "traffic": traffic, **_stated(author, reason)}))

    @app.command()
    def stop(
        name: Name,
        reason: Reason,
        arm: Annotated[str | None, typer.Option(help="Stop this arm alone.")] = None,
        adopted: Annotated[str | None, typer.Option(help="The arm that was chosen.")] = None,
        author: Author = None,
    ) -> None:
        """End an experiment or one of its arms: its readers get what the configuration says."""
        told = {"name": name, "arm": arm, "adopted": adopted}
        show(run("experiments.stop", {**told, **_stated(author, reason)}))


def _stated(author: str | None, reason: str) -> dict[str, Any]:
    return {"author": author or user_of(), "reason": reason}
