"""`config`: what is served, as a file that is checked, applied, compared and rolled back."""

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from nearfeed_contracts.errors import NearfeedError
from nearfeed_runtime.operations import Runner, show

File = Annotated[Path, typer.Argument(metavar="FILE.yaml", help="A document, as `config show` writes it.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.", show_default=False)]
Author = Annotated[
    str | None, typer.Option(help="Author of the change; the user of this machine by default.")
]
_HELP = "What is served: pages, providers, models and relations, as data."


class ArgumentError(NearfeedError):
    """A file or version on the command line that cannot be taken."""


def make_app(run: Runner) -> typer.Typer:
    """The commands `check`, `apply`, `diff`, `history`, `show` and `rollback`, which `run` carries out."""
    app = typer.Typer(no_args_is_help=True, help=_HELP)
    _add_reading(app, run)
    _add_changing(app, run)
    return app


def _add_reading(app: typer.Typer, run: Runner) -> None:
    @app.command("check")
    def check_(file: File) -> None:
        """Tell all faults of a file, or what applying it would change."""
        show(run("config.check", read_file(file)))

    @app.command()
    def diff(
        what: Annotated[str, typer.Argument(metavar="FILE|VERSION", help="A file, or a version's number.")],
        with_: Annotated[
            int | None, typer.Argument(metavar="VERSION", min=0, help="Another version.")
        ] = None,
    ) -> None:
        """Show what a file would change, or what has changed since a version, or between two."""
        show(run("config.diff", _compared(what, with_)))

    @app.command("history")
    def history_(
        limit: Annotated[int, typer.Option(min=1, max=1_000, help="Versions to show, at most.")] = 20,
    ) -> None:
        """List versions with their authors, times, reasons and changes, newest first."""
        show(run("config.history", {"limit": limit}))

    @app.command("show")
    def show_(
        version: Annotated[
            int | None,
            typer.Argument(min=0, help="A version number; the served version by default."),
        ] = None,
    ) -> None:
        """Write a version as YAML."""
        show(run("config.show", {"version": version}))


def _add_changing(app: typer.Typer, run: Runner) -> None:
    @app.command("apply")
    def apply_(
        file: File,
        reason: Reason,
        author: Author = None,
        if_version: Annotated[
            int | None, typer.Option(min=0, help="Apply only if this version is served.")
        ] = None,
    ) -> None:
        """Serve what a file says, whole or not at all; every process does within two seconds."""
        stated = {"author": author or user_of(), "reason": reason, "expected": if_version}
        show(run("config.apply", {**read_file(file), **stated}))

    @app.command()
    def rollback(
        version: Annotated[int, typer.Argument(min=0, help="The version to roll back to, as in `history`.")],
        reason: Reason,
        author: Author = None,
    ) -> None:
        """Serve what a former version says, as a new version."""
        stated = {"author": author or user_of(), "reason": reason}
        show(run("config.rollback", {"version": version, **stated}))


def _compared(what: str, version: int | None) -> dict[str, Any]:
    """From old to new: a file is new, a version alone is old, and two versions stand in their order."""
    if what.isdecimal():
        return {"old": int(what), "new": version}
    return {"old": version, **read_file(Path(what))}


def read_file(file: Path) -> dict[str, Any]:
    """The text goes along, for another process may carry out the command."""
    try:
        return {"text": file.read_text("utf-8"), "name": file.name}
    except UnicodeDecodeError:
        raise ArgumentError(f"{file}: is no text in UTF-8.") from None
    except OSError as error:
        raise ArgumentError(f"{file}: cannot be read ({error.strerror}).") from None


def user_of() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        raise ArgumentError("--author: this machine does not tell who you are; name the author.") from None
