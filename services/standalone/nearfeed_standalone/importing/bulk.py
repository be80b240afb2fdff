"""The bulk load of vertices and edges: straight into their tables, past the log.

Rows are checked by columns; one that does not pass at once is looked at by the model of its kind, which
decides and says why. A part of the file is sorted by primary key before it is written, so that each
page of the tables' trees is written once a part and not once a row. What is written again is the same, so
the state is noted only when a part is whole.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, Table

from nearfeed_contracts.events import describe_fault
from nearfeed_contracts.tables import edges, vertices
from nearfeed_runtime.operations import Step
from nearfeed_runtime.sql import chunks, committed, upsert_tuples
from nearfeed_standalone.importing.columns import Checked, ids, labels, properties, scores
from nearfeed_standalone.importing.graph_rows import EdgeRow, VertexRow
from nearfeed_standalone.importing.job import Job
from nearfeed_standalone.importing.refused import Refusal, RefusedRows
from nearfeed_standalone.importing.rows import filled
from nearfeed_standalone.importing.source import RawRow, Rows
from nearfeed_standalone.importing.state import State, store_state

PART = 250_000
_CHECKED_AT_ONCE = 10_000
_ROWS_PER_TRANSACTION = 20_000  # others who write wait for that long
_CACHE_KIB = 65_536

Row = tuple[Any, ...]


@dataclass(frozen=True)
class BulkKind:
    """`checks`: of each column of the table, in its order, a check that is never less strict than `model`."""

    table: Table
    model: type[BaseModel]
    required: tuple[str, ...]
    checks: dict[str, Callable[[Sequence[Any]], Checked]]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.checks)


BULK_KINDS = {
    "vertices": BulkKind(
        vertices,
        VertexRow,
        ("kind", "vertex_id"),
        {"kind": labels, "vertex_id": ids, "properties": partial(properties, missing="{}")},
    ),
    "edges": BulkKind(
        edges,
        EdgeRow,
        ("label", "from_id", "to_id"),
        {"label": labels, "from_id": ids, "to_id": ids, "score": scores, "properties": properties},
    ),
}


@dataclass
class Part:
    """Checked rows of a source that follow each other."""

    rows: list[Row] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    count: int = 0
    position: int = 0

    def add(self, kind: BulkKind, batch: Sequence[RawRow]) -> None:
        rows, refusals = checked(kind, batch)
        self.rows += rows
        self.refusals += refusals
        self.count += len(batch)
        self.position = batch[-1].position


@dataclass(frozen=True, kw_only=True)
class BulkJob(Job[BulkKind]):
    """A file of vertices or edges."""

    part: int = PART

    def take_all(self, rows: Rows, refused: RefusedRows, state: State) -> Generator[Step, None, State]:
        for part in _parts(self.form, rows.rows, self.part):
            self._write(part.rows)
            refused.put(part.refusals)
            state = State(state.rows_done + part.count, state.rows_refused + len(part.refusals))
            committed(self.engine, partial(self._note, state=state))
            refused.note()
            yield self.progress(rows, part.position)
        return state

    def _write(self, rows: list[Row]) -> None:
        """Of rows with the same key the last holds: sorting leaves them in their order."""
        for some in chunks(by_key(rows, len(self.form.table.primary_key)), _ROWS_PER_TRANSACTION):
            committed(self.engine, partial(_store, table=self.form.table, rows=some))

    def _note(self, transaction: Connection, state: State) -> None:
        store_state(transaction, self.source.identity, self.kind, state)


def by_key(rows: Sequence[Row], columns: int) -> list[Row]:
    """Rows by their first `columns`, which are texts; those that are equal there in the order they had."""
    keys = {str(number): pa.array([row[number] for row in rows], pa.string()) for number in range(columns)}
    order = pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])
    return [rows[number] for number in order.to_pylist()]


def checked(kind: BulkKind, batch: Sequence[RawRow]) -> tuple[list[Row], list[Refusal]]:
    """Rows as the table holds them, and those that are refused."""
    columns = [check([raw.values.get(name) for raw in batch]) for name, check in kind.checks.items()]
    doubtful = {number for column in columns for number in column.doubtful}
    doubtful |= {number for number, raw in enumerate(batch) if raw.fault}
    found = list(zip(*(column.values for column in columns), strict=True))
    if not doubtful:
        return found, []
    looked_at = {number: _looked_at(kind, batch[number]) for number in sorted(doubtful)}
    rows = [looked_at.get(number, row) for number, row in enumerate(found)]
    return (
        [row for row in rows if not isinstance(row, Refusal)],
        [refusal for refusal in looked_at.values() if isinstance(refusal, Refusal)],
    )


def _looked_at(kind: BulkKind, raw: RawRow) -> Row | Refusal:
    if raw.fault:
        return Refusal(raw.place, raw.fault)
    values = {name: raw.values[name] for name in kind.columns if name in raw.values}
    try:
        row = kind.model.model_validate(filled(values))
    except ValidationError as error:
        return Refusal(raw.place, describe_fault(error))
    return tuple(getattr(row, name) for name in kind.columns)


def _parts(kind: BulkKind, rows: Iterator[RawRow], size: int) -> Iterator[Part]:
    part = Part()
    for batch in _batches(rows, min(_CHECKED_AT_ONCE, size)):
        part.add(kind, batch)
        if part.count >= size:
            yield part
            part = Part()
    if part.count:
        yield part


def _batches(rows: Iterable[RawRow], size: int) -> Iterator[list[RawRow]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _store(transaction: Connection, table: Table, rows: Sequence[Row]) -> None:
    if transaction.dialect.name == "sqlite":
        transaction.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KIB}")
    upsert_tuples(transaction, table, rows)
