"""`erasure`: what remains of a reader who was erased, and the end of runs that hold readers' ids."""

from typing import Annotated

import typer

from nearfeed_runtime.auditing import machine_user
from nearfeed_runtime.operations import Runner, show


def make_app(run: Runner) -> typer.Typer:
    """The commands `check` and `prune`, which `run` carries out."""
    app = typer.Typer(no_args_is_help=True, help="Check what remains of erased users, and until when.")

    @app.command()
    def check(user_id: Annotated[str, typer.Argument(help="The reader.")]) -> None:
        """List what remains of a reader; fails where anything is left that does not end by itself."""
        show(run("erasure.check", {"user_id": user_id}))

    @app.command()
    def prune() -> None:
        """Remove runs that have held readers' ids for 30 days."""
        show(run("erasure.prune", {"actor": machine_user()}))

    return app
