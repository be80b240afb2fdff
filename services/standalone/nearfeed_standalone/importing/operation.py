"""The operation `import`: a file's rows in batches, each with its effects or not at all."""

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.events import tell_fault
from nearfeed_runtime.operations import Progress, Said, Step
from nearfeed_runtime.sql import writing
from nearfeed_standalone.importing.files import RawRow, Rows, UnreadableFileError, check_file, hash_of
from nearfeed_standalone.importing.kinds import ImportKind, kind_of
from nearfeed_standalone.importing.opening import open_rows
from nearfeed_standalone.importing.refused import Refusal, RefusedRows, refused_rows
from nearfeed_standalone.importing.rows import filled
from nearfeed_standalone.importing.state import State, state_of, store_state

_BATCH = 1_000


@dataclass(frozen=True)
class Importer:
    """Where imports go; one runs at a time. Refused rows are told in files under `folder`."""

    engine: Engine
    log: EventLog
    folder: Path
    batch: int = _BATCH
    _running: threading.Lock = field(default_factory=threading.Lock)

    def run(self, kind: str, path: str) -> Iterator[Step]:
        """Takes in a file, from where it was broken off. Raises UnreadableFileError."""
        if not self._running.acquire(blocking=False):
            raise ConflictError("Another import is running; wait until it has ended.")
        try:
            yield from self._run(kind, Path(path))
        finally:
            self._running.release()

    def _run(self, kind: str, path: Path) -> Iterator[Step]:
        kind_of(kind)
        check_file(path)
        job = _Job(self, kind, path, hash_of(path))
        before = state_of(self.engine, job.file_hash, kind)
        if before.finished:
            yield Said(f"{path.name} was imported before: {job.told(before)}.")
            return
        after = yield from job.run(before)
        yield Said(f"{path.name}: {job.told(after)}.")


@dataclass(frozen=True)
class _Job:
    """One file on its way in."""

    importer: Importer
    kind: str
    path: Path
    file_hash: str

    def run(self, state: State) -> Generator[Step, None, State]:
        """Returns the state at the end of the file."""
        with (
            open_rows(self.path) as rows,
            refused_rows(self.refused_path, keep=state.rows_refused) as refused,
        ):
            ignored = _check_columns(self.path, rows.columns, kind_of(self.kind))
            if ignored:
                yield Said(f"{self.path.name}: ignored columns: {', '.join(ignored)}.")
            for batch in _batches(rows.rows, state.rows_done, self.importer.batch):
                state = self._take_in(batch, state, refused)
                yield self._progress(rows, batch[-1].position)
        return self._finish(state)

    def _take_in(self, batch: Sequence[RawRow], state: State, refused: RefusedRows) -> State:
        kind = kind_of(self.kind)
        with writing(self.importer.engine) as transaction:
            good, refusals = self._checked(batch, state.rows_done)
            faults = kind.faults_of(transaction, [row for _, row in good])
            accepted = [row for (_, row), fault in zip(good, faults, strict=True) if fault is None]
            refusals += [Refusal(line, fault) for (line, _), fault in zip(good, faults, strict=True) if fault]
            refused.add(sorted(refusals))
            kind.store(transaction, self.importer.log, accepted)
            after = State(state.rows_done + len(batch), state.rows_refused + len(refusals))
            store_state(transaction, self.file_hash, self.kind, after)
        return after

    def _checked(self, batch: Sequence[RawRow], done: int) -> tuple[list[tuple[int, Any]], list[Refusal]]:
        kind = kind_of(self.kind)
        good: list[tuple[int, Any]] = []
        refusals: list[Refusal] = []
        for number, raw in enumerate(batch, done + 1):
            if raw.fault:
                refusals.append(Refusal(raw.line, raw.fault))
                continue
            values = {name: raw.values[name] for name in kind.columns if name in raw.values}
            event_id = {"event_id": f"{self.file_hash[:32]}-{number}"}
            try:
                good.append((raw.line, kind.model.model_validate(event_id | filled(values))))
            except ValidationError as error:
                refusals.append(Refusal(raw.line, tell_fault(error)))
        return good, refusals

    def _finish(self, state: State) -> State:
        if not state.rows_done:
            raise UnreadableFileError(self.path, "the file has no rows")
        with writing(self.importer.engine) as transaction:
            store_state(transaction, self.file_hash, self.kind, replace(state, finished=True))
        return state

    def _progress(self, rows: Rows, position: int) -> Progress:
        unit = "" if rows.unit == "rows" else f" ({rows.unit})"
        return Progress(f"Importing {self.path.name}{unit}", position, rows.total)

    @property
    def refused_path(self) -> Path:
        name = f"{self.path.name}.{self.kind}.{self.file_hash[:8]}.refused.jsonl"
        return self.importer.folder / name

    def told(self, state: State) -> str:
        taken = f"{state.rows_taken:,} {self.kind} taken in"
        if not state.rows_refused:
            return taken
        return f"{taken}, {state.rows_refused:,} rows refused for the reasons in {self.refused_path}"


def _batches(rows: Iterator[RawRow], skip: int, size: int) -> Iterator[list[RawRow]]:
    rows = islice(rows, skip, None)
    while batch := list(islice(rows, size)):
        yield batch


def _check_columns(path: Path, columns: tuple[str, ...] | None, kind: ImportKind) -> list[str]:
    """The columns that mean nothing to Nearfeed. Raises UnreadableFileError for one that is missing."""
    if columns is None:
        return []
    missing = next((name for name in kind.required if name not in columns), None)
    if missing:
        raise UnreadableFileError(
            path, f"the column {missing} is missing; the columns are {', '.join(columns) or 'none'}"
        )
    return [name for name in columns if name not in kind.columns]
