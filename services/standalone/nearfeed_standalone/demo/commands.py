"""`nearfeed demo`."""

import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nearfeed_standalone.quiet import log_warnings_alone

DEFAULT_FOLDER = Path("nearfeed-demo")
DEFAULT_FOLDER_SIMULATED = Path("nearfeed-demo-simulated")
_SIMULATED = "Simulated readers"


def demo(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API on 127.0.0.1.")] = 8080,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the demo's data; where it is not given nearfeed-demo, with --simulate "
            "nearfeed-demo-simulated."
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the content of the folder first.")] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the readers in training, at most.")
    ] = None,
    serve: Annotated[bool, typer.Option(help="Serve at the end, or stop before.")] = True,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Simulate users in an experiment: personal feed against latest and popular posts. "
            "Their taste comes of ratings that are held out from import and training.",
            rich_help_panel=_SIMULATED,
        ),
    ] = False,
    readers: Annotated[
        int, typer.Option(min=1, help="Maximum number of users.", rich_help_panel=_SIMULATED)
    ] = 400,
    minutes: Annotated[
        float, typer.Option(min=0, help="How long they visit.", rich_help_panel=_SIMULATED)
    ] = 30.0,
    per_second: Annotated[
        float, typer.Option(min=0.01, max=20, help="Visits in a second, at most.", rich_help_panel=_SIMULATED)
    ] = 3.0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of their choices; random by default.", rich_help_panel=_SIMULATED),
    ] = None,
) -> None:
    """MovieLens as a community: import, train, index, serve, and what to try."""
    from nearfeed_standalone.demo.steps import Choices, run_demo
    from nearfeed_standalone.demo.turns import Simulation

    log_warnings_alone()
    folder = data_dir or context.obj or (DEFAULT_FOLDER_SIMULATED if simulate else DEFAULT_FOLDER)
    chosen = seed if seed is not None else secrets.randbits(32)
    simulation = Simulation(readers, minutes, per_second, chosen) if simulate else None
    run_demo(Choices(folder, port, epochs, fresh, serve, simulation), Console())
