"""Operations: what an operator may ask for, as generators of steps.

A command line runs an operation in its own process, or asks the process that holds the embedded
back ends to run it; either way the same steps come back and are shown alike. An operation raises
NearfeedError for what the operator can mend.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars
from rich.table import Table

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import from_micros


@dataclass(frozen=True)
class Progress:
    """How far a stage has come; `total` is None where it is not known."""

    stage: str
    done: int
    total: int | None = None


@dataclass(frozen=True)
class Said:
    """A line for the operator."""

    text: str


@dataclass(frozen=True)
class Listed:
    """A table for the operator; its first column names what a row is about."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Step = Progress | Said | Listed
Operation = Callable[..., Iterator[Step]]
_WIDE = 10_000  # characters of a line that no terminal breaks
Runner = Callable[[str, Mapping[str, Any]], Iterator[Step]]
_STEPS: dict[str, type[Progress] | type[Said] | type[Listed]] = {
    "progress": Progress,
    "said": Said,
    "listed": Listed,
}


def runner_of(operations: Mapping[str, Operation]) -> Runner:
    """Runs operations of a table by name, in this process."""

    def run(name: str, arguments: Mapping[str, Any]) -> Iterator[Step]:
        if name not in operations:
            raise NearfeedError(f"There is no operation {name!r} in this process.")
        yield from operations[name](**arguments)

    return run


def step_to_json(step: Step) -> dict[str, Any]:
    return {"step": type(step).__name__.lower(), **asdict(step)}


def step_from_json(body: Mapping[str, Any]) -> Step:
    values = {name: value for name, value in body.items() if name != "step"}
    if body["step"] == "listed":
        values = {"columns": tuple(values["columns"]), "rows": tuple(tuple(row) for row in values["rows"])}
    return _STEPS[body["step"]](**values)


def show(steps: Iterator[Step], console: Console | None = None) -> None:
    """Shows steps on a terminal: a bar per stage, lines and tables above the bars."""
    console = console or Console()
    bars = ProgressBars(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
    tasks: dict[str, Any] = {}
    try:
        for step in steps:
            match step:
                case Progress(stage, done, total):
                    bars.start()
                    if stage not in tasks:
                        tasks[stage] = bars.add_task(stage, total=total)
                    bars.update(tasks[stage], completed=done, total=total)
                case Said(text):
                    bars.console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)
                case Listed():
                    wide = console if console.is_terminal else Console(file=console.file, width=_WIDE)
                    wide.print(_table(step))
    finally:
        if tasks:
            bars.stop()


def _table(listed: Listed) -> Table:
    """The first column's names are there to be copied: they stay whole where others are folded."""
    table = Table()
    longest = max((len(row[0]) for row in listed.rows), default=0)
    for number, column in enumerate(listed.columns):
        table.add_column(column, overflow="fold", min_width=None if number else longest)
    for row in listed.rows:
        table.add_row(*row)
    return table


def format_time(micros: int | None) -> str:
    """A time in microseconds since 1970 as operators read it, in UTC; empty for None."""
    return "" if micros is None else f"{from_micros(micros):%Y-%m-%d %H:%M:%S}"
