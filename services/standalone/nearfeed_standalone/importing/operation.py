"""The operation `import`: rows in batches, each with its effects or not at all."""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.events import describe_fault
from nearfeed_runtime.operations import Step
from nearfeed_runtime.sql import committed
from nearfeed_standalone.importing.bulk import BULK_KINDS, BulkJob
from nearfeed_standalone.importing.database import open_sources
from nearfeed_standalone.importing.job import Job
from nearfeed_standalone.importing.kinds import DATABASE_KINDS, ImportKind, kind_of
from nearfeed_standalone.importing.opening import file_source
from nearfeed_standalone.importing.refused import Refusal, RefusedRows
from nearfeed_standalone.importing.rows import filled
from nearfeed_standalone.importing.source import RawRow, Rows, Source
from nearfeed_standalone.importing.state import State, store_state

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
            yield from self._job(kind, Path(path)).run()

    def run_database(self, url: str, map_path: str, anew: bool = False) -> Iterator[Step]:
        """Takes in what an app's database has, by a map; only what is new since the last time, or all.

        Raises MapError and AppDatabaseError.
        """
        with self._alone(), open_sources(url, Path(map_path)) as sources:
            for kind, source in sources:
                yield from self._rows_job(kind, DATABASE_KINDS[kind], source).run(anew=anew)

    def _job(self, kind: str, path: Path) -> Job[Any]:
        if bulk := BULK_KINDS.get(kind):
            return BulkJob(self.engine, self.folder, kind, bulk, file_source(path, bulk.required))
        form = kind_of(kind)
        return self._rows_job(kind, form, file_source(path, form.required))

    def _rows_job(self, kind: str, form: ImportKind, source: Source) -> "RowsJob":
        return RowsJob(
            self.engine,
            self.folder,
            kind,
            form,
            source,
            log=self.log,
            secret=self.secret,
            batch=self.batch,
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._running.acquire(blocking=False):
            raise ConflictError("Another import is running; wait until it has ended.")
        try:
            yield
        finally:
            self._running.release()


@dataclass(frozen=True, kw_only=True)
class RowsJob(Job[ImportKind]):
    """Rows whose effects are those of an API call: each is made a model, and stored by its kind."""

    log: EventLog
    secret: bytes
    batch: int

    def take_all(self, rows: Rows, refused: RefusedRows, state: State) -> Generator[Step, None, State]:
        for batch in _batches(rows.rows, self.batch):
            take_in = partial(self._take_in, batch=batch, before=state, refused=refused)
            state = committed(self.engine, take_in)
            refused.note()
            yield self.progress(rows, batch[-1].position)
        return state

    def _take_in(
        self, transaction: Connection, batch: Sequence[RawRow], before: State, refused: RefusedRows
    ) -> State:
        rows, faults = self._checked(batch, before.rows_done)
        at_hand = [row for row in rows if row is not None]
        known = iter(self.form.faults_of(transaction, self.secret, at_hand))
        faults = [fault or next(known) for fault in faults]
        refusals = [
            Refusal(raw.place, fault) for raw, fault in zip(batch, faults, strict=True) if fault is not None
        ]
        refused.put(refusals)
        accepted = [row for row, fault in zip(rows, faults, strict=True) if fault is None]
        self.form.store(transaction, self.log, accepted)
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
            return None, describe_fault(error)


def _batches(rows: Iterator[RawRow], size: int) -> Iterator[list[RawRow]]:
    while batch := list(islice(rows, size)):
        yield batch
