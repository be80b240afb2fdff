"""The demo's steps; each looks at what is there, and does what is missing."""

import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from sqlalchemy import select

from nearfeed_contracts.runs import Run, list_runs
from nearfeed_contracts.tables import active_space_name, spaces
from nearfeed_runtime.operations import show
from nearfeed_runtime.sql import read_connection
from nearfeed_standalone.demo.farewell import print_next_steps
from nearfeed_standalone.demo.files import films_in
from nearfeed_standalone.demo.simulating import simulated_readers
from nearfeed_standalone.demo.turns import Simulation
from nearfeed_standalone.lock import hold
from nearfeed_standalone.quiet import warning_level
from nearfeed_standalone.serve import listening, serve_services
from nearfeed_standalone.services import Services, open_services
from nearfeed_standalone.training import train

STEPS = 5
FILES = "demo"


@dataclass(frozen=True)
class Choices:
    """What the command line lets choose."""

    data_dir: Path
    port: int | None = None
    epochs: int | None = None
    fresh: bool = False
    serve: bool = True
    simulation: Simulation | None = None


def run_demo(choices: Choices, console: Console) -> None:
    """From films to a feed on 127.0.0.1; what an earlier call has done is not done again."""
    with ExitStack() as resources:
        folder = resources.enter_context(hold(choices.data_dir))
        if choices.serve:
            listener = resources.enter_context(listening(choices.data_dir, "127.0.0.1", choices.port))
        if choices.fresh:
            folder.empty()
        services = resources.enter_context(open_services(choices.data_dir))
        show(services.operations["spaces.restore"](), console)
        make_feed(services, choices, console)
        if choices.serve:
            headline(console, 5, "Serving on 127.0.0.1, which this machine alone can reach")
            ready = _ready(services, choices, console, resources)
            serve_services(folder, services, listener, ready, warning_level())


def _ready(
    services: Services, choices: Choices, console: Console, resources: ExitStack
) -> Callable[[str], None]:
    """What happens once it serves, told the URL: the farewell; and readers come, if they are simulated."""
    command = _command(choices.data_dir)
    farewell = partial(print_next_steps, services.engine, command, console)
    if choices.simulation is None:
        return farewell
    files = choices.data_dir / FILES
    coming = simulated_readers(services, files, choices.simulation, command, console)
    begin = resources.enter_context(coming)

    def ready(url: str) -> None:
        farewell(url)
        begin(url)

    return ready


def make_feed(services: Services, choices: Choices, console: Console) -> None:
    """All steps before serving."""
    headline(console, 1, "Films and ratings of MovieLens, as posts and readings")
    paths = films_in(choices.data_dir / FILES, simulated=choices.simulation is not None)
    console.print(f"in {choices.data_dir / FILES}", highlight=False)
    headline(console, 2, "Importing")
    for kind, path in paths.items():
        show(services.operations["import"](kind=kind, path=str(path)), console)
    headline(console, 3, "Training SimCSE and PinSage")
    run = ensure_run(services, choices, console)
    headline(console, 4, "Indexing the vectors")
    ensure_active(services, run, console)


def ensure_run(services: Services, choices: Choices, console: Console) -> Run:
    """The newest run; trained where there is none."""
    runs = _runs(services)
    if not runs:
        train(choices.data_dir, {"epochs": choices.epochs})
        return _runs(services)[-1]
    console.print(f"run {runs[-1].manifest.space} was trained before", highlight=False)
    return runs[-1]


def _runs(services: Services) -> list[Run]:
    return [run for run in list_runs(services.settings.runs_url) if run.manifest.kind == "vectors"]


def ensure_active(services: Services, run: Run, console: Console) -> None:
    """Loads and activates the run, unless a space is active already."""
    with read_connection(services.engine) as connection:
        active = connection.scalar(select(active_space_name()))
        state = connection.scalar(select(spaces.c.state).where(spaces.c.space == run.manifest.space))
    if active is not None:
        console.print(f"space {active} is active", highlight=False)
    elif state == "ready":
        show(services.operations["spaces.activate"](space=run.manifest.space), console)
    else:
        show(services.operations["load"](run=run.manifest.space, activate=True), console)


def _command(data_dir: Path) -> str:
    return shlex.join([sys.argv[0], "--data-dir", str(data_dir)])


def headline(console: Console, number: int, text: str) -> None:
    console.print(f"\n[bold]{number}/{STEPS} {text}[/bold]", highlight=False)
