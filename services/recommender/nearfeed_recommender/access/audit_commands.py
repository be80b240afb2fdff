"""`audit`: who has changed what by hand."""

from typing import Annotated

import typer

from nearfeed_runtime.operations import Runner, show


def add_audit(app: typer.Typer, run: Runner, **placed: str) -> None:
    """Adds the command `audit`, which `run` carries out; `placed` says where `--help` shows it."""

    @app.command(**placed)  # type: ignore[arg-type]
    def audit(
        limit: Annotated[int, typer.Option(min=1, max=1_000, help="Changes to show, at most.")] = 20,
        before: Annotated[
            int | None, typer.Option(min=0, help="Only changes of a number lower than this.")
        ] = None,
    ) -> None:
        """List changes by operators, newest first: who, what and when."""
        show(run("audit.list", {"limit": limit, "before": before}))
