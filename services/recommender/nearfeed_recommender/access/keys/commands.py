"""`keys`: make, list, rotate and revoke the keys of the API."""

from typing import Annotated

import typer

from nearfeed_runtime.auditing import machine_user
from nearfeed_runtime.operations import Runner, show

Name = Annotated[str, typer.Argument(help="Name or id of a key, as `keys list` shows it.")]
_HELP = "Keys of the API: who may call it, and for what."


def make_app(run: Runner) -> typer.Typer:
    """The commands `create`, `list`, `rotate` and `revoke`, which `run` carries out."""
    app = typer.Typer(no_args_is_help=True, help=_HELP)
    _add_making(app, run)

    @app.command("list")
    def list_() -> None:
        """List all keys with their scopes, limits and states; secrets are not kept."""
        show(run("keys.list", {}))

    @app.command()
    def revoke(name: Name) -> None:
        """End a key, or all keys of a name, in every process within two seconds."""
        show(run("keys.revoke", {"named": name, "actor": machine_user()}))

    return app


def _add_making(app: typer.Typer, run: Runner) -> None:
    @app.command()
    def create(
        name: Annotated[str, typer.Argument(help="Name of the key, such as the app that uses it.")],
        scope: Annotated[
            list[str], typer.Option(help="feed, events, items or admin; may be given several times.")
        ],
        expires_days: Annotated[
            float | None,
            typer.Option(min=0, max=36_500, help="Days until it expires; never by default."),
        ] = None,
        per_minute: Annotated[
            int | None,
            typer.Option(min=1, help="Maximum calls a minute; NEARFEED_CALLS_PER_MINUTE by default."),
        ] = None,
    ) -> None:
        """Make a key and tell it, this once."""
        limits = {"expires_days": expires_days, "per_minute": per_minute}
        show(run("keys.create", {"name": name, "scopes": scope, "actor": machine_user(), **limits}))

    @app.command()
    def rotate(
        name: Name,
        grace_hours: Annotated[
            float, typer.Option(min=0, max=8_760, help="Hours for which the old key stays valid.")
        ] = 24,
    ) -> None:
        """Make a new key beside an old one, which expires after a while."""
        show(run("keys.rotate", {"named": name, "actor": machine_user(), "grace_hours": grace_hours}))
