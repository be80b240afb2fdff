"""The indexer's commands, the same in its own process and in `nearfeed`."""

from pathlib import Path
from typing import Annotated

import typer

from nearfeed_runtime.auditing import machine_user
from nearfeed_runtime.operations import Runner, show

Space = Annotated[str, typer.Argument(help="name of a space, as `spaces list` shows it")]


def make_app(run: Runner) -> typer.Typer:
    """An app with `load` and `spaces`, whose operations `run` carries out."""
    app = typer.Typer(no_args_is_help=True)
    app.add_typer(_spaces_app(run), name="spaces")

    @app.command()
    def load(
        run_: Annotated[
            str, typer.Argument(metavar="RUN", help="space name, folder or URL of a run, or `latest`")
        ],
        activate: Annotated[bool, typer.Option(help="serve it as soon as it is ready")] = False,
        wait: Annotated[float | None, typer.Option(min=0, help="seconds to wait until it is ready")] = None,
    ) -> None:
        """Load a run into a space of its own, beside the one that is served."""
        chosen = {"run": _located(run_), "activate": activate, "wait": wait}
        show(run("load", {**chosen, "actor": machine_user()}))

    return app


def _located(run: str) -> str:
    """The full path of a local folder, for a process with another working folder may load it."""
    return str(Path(run).absolute()) if Path(run).is_dir() else run


def _spaces_app(run: Runner) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, help="List, activate, roll back and drop spaces.")

    @app.command("list")
    def list_() -> None:
        """Show all spaces."""
        show(run("spaces.list", {}))

    @app.command()
    def activate(space: Space) -> None:
        """Serve a space that is ready."""
        show(run("spaces.activate", {"space": space, "actor": machine_user()}))

    @app.command()
    def rollback() -> None:
        """Serve the space that was served before."""
        show(run("spaces.rollback", {"actor": machine_user()}))

    @app.command()
    def drop(space: Space) -> None:
        """Remove a space that is not served."""
        show(run("spaces.drop", {"space": space, "actor": machine_user()}))

    return app
