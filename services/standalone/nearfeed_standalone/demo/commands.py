"""`nearfeed demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nearfeed_standalone.quiet import log_warnings_alone

DEFAULT_FOLDER = Path("nearfeed-demo")


def demo(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API on 127.0.0.1.")] = 8080,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the demo's data; nearfeed-demo where it is not given.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove what is in the folder first.")] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the readers in training, at most.")
    ] = None,
    serve: Annotated[bool, typer.Option(help="Serve at the end, or stop before.")] = True,
) -> None:
    """MovieLens as a community: import, train, index, serve, and what to try."""
    from nearfeed_standalone.demo.steps import Choices, run_demo

    log_warnings_alone()
    folder = data_dir or context.obj or DEFAULT_FOLDER
    run_demo(Choices(folder, port, epochs, fresh, serve), Console())
