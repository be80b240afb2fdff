"""The operation `import`: rows in batches, each with its effects or not at all."""

import re
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.events import tell_fault
from nearfeed_runtime.operations import Progress, Said, Step
from nearfeed_runtime.sql import committed
from nearfeed_standalone.importing.database import open_sources
from nearfeed_standalone.importing.kinds import DATABASE_KINDS, ImportKind, kind_of
from nearfeed_standalone.importing.opening import file_source
from nearfeed_standalone.importing.refused import Refusal, RefusedRows, refused_rows
from nearfeed_standalone.importing.rows import filled
from nearfeed_standalone.importing.source import RawRow, Rows, Source
from nearfeed_standalone.importing.state import State, state_of, store_state

_BATCH = 1_000


@dataclass(frozen=True)
class Importer:
    """Where imports go; one runs at a time. Refused rows are told in files under `folder`."""

    engine: Engine
    log: EventLog
    folder: Path
    secret: bytes
    batch: int = _BATCH
    _running: threading.Lock = field(default_factory=threading.Lock)

    def run(self, kind: str, path: str) -> Iterator[Step]:
        """Takes in a file, from where it was broken off. Raises UnreadableFileError."""
        with self._alone():
            form = kind_of(kind)
            yield from _Job(self, kind, form, file_source(Path(path), form.required)).run()

    def run_database(self, url: str, map_path: str, anew: bool = False) -> Iterator[Step]:
        """Takes in what an app's database has, by a map; only what is new since the last time, or all.

        Raises MapError and AppDatabaseError.
        """
        with self._alone(), open_sources(url, Path(map_path)) as sources:
            for kind, source in sources:
                yield from _Job(self, kind, DATABASE_KINDS[kind], source).run(anew=anew)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._running.acquire(blocking=False):
            raise ConflictError("Another import is running; wait until it has ended.")
        try:
            yield
        finally:
            self._running.release()


@dataclass(frozen=True)
class _Job:
    """One source on its way in."""

    importer: Importer
    kind: str
    form: ImportKind
    source: Source

    def run(self, *, anew: bool = False) -> Iterator[Step]:
        before = State() if anew else state_of(self.importer.engine, self.source.identity, self.kind)
        if before.finished and not self.source.grows:
            yield Said(f"{self.source.name} was imported before: {self._told(before, State())}.")
            return
        after = yield from self._read(before)
        since = before if self.source.grows else State()
        yield Said(f"{self.source.name}: {self._told(after, since)}.")

    def _read(self, state: State) -> Generator[Step, None, State]:
        """Returns the state at the end of the source."""
        with (
            self.source.open(state) as rows,
            refused_rows(self.refused_path, keep=state.rows_refused) as refused,
        ):
            if ignored := [name for name in rows.columns if name not in self.form.columns]:
                yield Said(f"{self.source.name}: ignored columns: {', '.join(ignored)}.")
            for batch in _batches(rows.rows, self.importer.batch):
                take_in = partial(self._take_in, batch=batch, before=state, refused=refused)
                state = committed(self.importer.engine, take_in)
                refused.note()
                yield self._progress(rows, batch[-1].position)
        return self._finish(state)

    def _take_in(
        self, transaction: Connection, batch: Sequence[RawRow], before: State, refused: RefusedRows
    ) -> State:
        rows, faults = self._checked(batch, before.rows_done)
        at_hand = [row for row in rows if row is not None]
        known = iter(self.form.faults_of(transaction, self.importer.secret, at_hand))
        faults = [fault or next(known) for fault in faults]
        refusals = [
            Refusal(raw.place, fault) for raw, fault in zip(batch, faults, strict=True) if fault is not None
        ]
        refused.put(refusals)
        accepted = [row for row, fault in zip(rows, faults, strict=True) if fault is None]
        self.form.store(transaction, self.importer.log, accepted)
        after = State(
            before.rows_done + len(batch),
            before.rows_refused + len(refusals),
            read_up_to=batch[-1].key,
        )
        store_state(transaction, self.source.identity, self.kind, after)
        return after

    def _checked(self, batch: Sequence[RawRow], done: int) -> tuple[list[Any], list[str | None]]:
        """Of each row what it is, or None and the fault."""
        checked = [self._row_of(raw, number) for number, raw in enumerate(batch, done + 1)]
        return [row for row, _ in checked], [fault for _, fault in checked]

    def _row_of(self, raw: RawRow, number: int) -> tuple[Any, str | None]:
        if raw.fault:
            return None, raw.fault
        values = {name: raw.values[name] for name in self.form.columns if name in raw.values}
        event_id = {"event_id": f"{self.source.identity[:32]}-{number}"}
        try:
            return self.form.model.model_validate(event_id | filled(values)), None
        except ValidationError as error:
            return None, tell_fault(error)

    def _finish(self, state: State) -> State:
        after = replace(state, finished=True)
        finish = partial(store_state, identity=self.source.identity, kind=self.kind, state=after)
        committed(self.importer.engine, finish)
        return after

    def _progress(self, rows: Rows, position: int) -> Progress:
        unit = "" if rows.unit == "rows" else f" ({rows.unit})"
        return Progress(f"Importing {self.source.name}{unit}", position, rows.total)

    @property
    def refused_path(self) -> Path:
        """Where refusals are told; a file that was renamed since keeps the one that bears its former name."""
        suffix = f".{self.kind}.{self.source.identity[:8]}.refused.jsonl"
        written = sorted(self.importer.folder.glob(f"*{suffix}"))
        name = re.sub(r"[^\w.-]+", "-", self.source.name)
        return written[0] if written else self.importer.folder / f"{name}{suffix}"

    def _told(self, state: State, since: State) -> str:
        taken = f"{state.rows_taken - since.rows_taken:,} {self.kind} taken in"
        refused = state.rows_refused - since.rows_refused
        if not refused:
            return taken
        return f"{taken}, {refused:,} rows refused for the reasons in {self.refused_path}"


def _batches(rows: Iterator[RawRow], size: int) -> Iterator[list[RawRow]]:
    while batch := list(islice(rows, size)):
        yield batch
