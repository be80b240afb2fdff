"""One source on its way in: from where it was broken off, with what is refused told in a file."""

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Engine

from nearfeed_runtime.operations import Progress, Said, Step
from nearfeed_runtime.sql import committed
from nearfeed_standalone.importing.refused import RefusedRows, refused_rows
from nearfeed_standalone.importing.source import Rows, Source
from nearfeed_standalone.importing.state import State, state_of, store_state


class Form(Protocol):
    """What a job knows of the kind that it takes in."""

    @property
    def columns(self) -> tuple[str, ...]: ...


F = TypeVar("F", bound=Form)


@dataclass(frozen=True)
class Job(ABC, Generic[F]):
    """What imports of all kinds do alike; `take_all` is what they do each in their way."""

    engine: Engine
    folder: Path
    kind: str
    form: F
    source: Source

    @abstractmethod
    def take_all(self, rows: Rows, refused: RefusedRows, state: State) -> Generator[Step, None, State]:
        """Takes rows in, and notes in one transaction each how far it has come. Returns the last state."""

    def run(self, *, anew: bool = False) -> Iterator[Step]:
        before = State() if anew else state_of(self.engine, self.source.identity, self.kind)
        if before.finished and not self.source.grows:
            yield Said(f"{self.source.name} was imported before: {self._summary(before, State())}.")
            return
        after = yield from self._read(before)
        since = before if self.source.grows else State()
        yield Said(f"{self.source.name}: {self._summary(after, since)}.")

    def _read(self, state: State) -> Generator[Step, None, State]:
        """Returns the state at the end of the source."""
        with (
            self.source.open(state) as rows,
            refused_rows(self.refused_path, keep=state.rows_refused) as refused,
        ):
            if ignored := [name for name in rows.columns if name not in self.form.columns]:
                yield Said(f"{self.source.name}: ignored columns: {', '.join(ignored)}.")
            state = yield from self.take_all(rows, refused, state)
        return self._finish(state)

    def _finish(self, state: State) -> State:
        after = replace(state, finished=True)
        finish = partial(store_state, identity=self.source.identity, kind=self.kind, state=after)
        committed(self.engine, finish)
        return after

    def progress(self, rows: Rows, position: int) -> Progress:
        unit = "" if rows.unit == "rows" else f" ({rows.unit})"
        return Progress(f"Importing {self.source.name}{unit}", position, rows.total)

    @property
    def refused_path(self) -> Path:
        """Where refusals are told; a file that was renamed since keeps the one that bears its former name."""
        suffix = f".{self.kind}.{self.source.identity[:8]}.refused.jsonl"
        written = sorted(self.folder.glob(f"*{suffix}"))
        name = re.sub(r"[^\w.-]+", "-", self.source.name)
        return written[0] if written else self.folder / f"{name}{suffix}"

    def _summary(self, state: State, since: State) -> str:
        taken = f"{state.rows_taken - since.rows_taken:,} {self.kind} taken in"
        refused = state.rows_refused - since.rows_refused
        if not refused:
            return taken
        return f"{taken}, {refused:,} rows refused for the reasons in {self.refused_path}"
