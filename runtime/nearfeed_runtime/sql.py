"""SQL that SQLite and MySQL spell differently, and the two kinds of connection."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Engine, Table, func, select, text
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import DBAPIError

from nearfeed_contracts.tables import READ_ONLY_OPTION

_ROWS_PER_STATEMENT = 500
_KEYS_PER_STATEMENT = 250
_BYTES_PER_STATEMENT = 4_000_000  # MySQL refuses a statement above max_allowed_packet, 16 MiB or more
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 30 * 86_400
_LONGEST_LOOK_SECONDS = 0.1
# Deadlock, lock wait timeout, server shutting down, connection killed.
_PASSING_ERRORS = (1213, 1205, 1053, 1927)
_SQLITE_BUSY = 5  # the low byte of its extended codes too
T = TypeVar("T")


@contextmanager
def read_connection(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads: a snapshot that waits for no writer."""
    with engine.execution_options(**{READ_ONLY_OPTION: True}).connect() as connection:
        yield connection


def write_transaction(engine: Engine) -> Any:
    """A transaction that writes: on SQLite it holds the write lock from its first statement."""
    return engine.begin()


def committed(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What `work` returns, after the transaction in which it ran was committed.

    Runs it again where the server ended the transaction for the sake of another one or of itself (a
    deadlock, a lock wait, a lost connection), or SQLite's lock did not come free. The answer to a commit
    may be lost with a connection too, so `work` must bear repetition.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            with write_transaction(engine) as transaction:
                return work(transaction)
        except DBAPIError as error:
            if not is_passing(error):
                raise
            time.sleep(_PAUSE_SECONDS * attempt)
    with write_transaction(engine) as transaction:
        return work(transaction)


def is_passing(error: DBAPIError) -> bool:
    """Whether the same transaction may go through when it is tried again."""
    if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == _SQLITE_BUSY:
        return True
    return error.connection_invalidated or getattr(error.orig, "errno", None) in _PASSING_ERRORS


def let_others_write(engine: Engine) -> None:
    """Between the transactions of a long work: on SQLite the lock stays free until whoever waits has looked.

    Those who wait look again after a tenth of a second at the latest.
    """
    if engine.dialect.name == "sqlite":
        time.sleep(_LONGEST_LOOK_SECONDS)


@contextmanager
def sole_worker(engine: Engine, work: str, *, for_hours: bool = False) -> Iterator[bool]:
    """Whether this is the only process that does `work` now; it stays so within the block.

    SQLite serves one process, so there it is always so. With `for_hours` the server does not take the
    connection, and with it the lock, for one that was forgotten.
    """
    if engine.dialect.name == "sqlite":
        yield True
        return
    # Names of locks hold for the whole server and have 64 characters at most.
    name = func.sha1(func.concat(f"nearfeed {work} ", func.database()))
    with engine.connect() as connection:
        if for_hours:
            connection.execute(text(f"SET SESSION wait_timeout = {_LONGEST_WAIT_SECONDS}"))
        alone = bool(connection.scalar(select(func.get_lock(name, 0))))
        try:
            yield alone
        finally:
            if alone:
                connection.scalar(select(func.release_lock(name)))


def claim(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Locks the rows of these primary keys until the end of the transaction; inserts those that are missing.

    What is read after it holds what was committed by those who had the rows before. A row that was
    inserted has the values given, which the caller overwrites or deletes. On SQLite, where the
    transaction holds the lock of everything, nothing is done.
    """
    if connection.dialect.name == "sqlite":
        return
    names = [column.name for column in table.primary_key]
    ordered = sorted(rows, key=lambda row: [row[name] for name in names])
    upsert(connection, table, ordered, keep=list(rows[0]) if rows else ())


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, keep: Sequence[str] = ()
) -> None:
    """Inserts rows, or overwrites those of the same primary key but for the columns in `keep`.

    All rows must have the same columns.
    """
    if not rows:
        return
    statement = _upsert_statement(connection.dialect.name, table, list(rows[0]), keep)
    for some in statements(rows):
        connection.execute(statement, some)


def upsert_tuples(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, keep: Sequence[str] = ()
) -> None:
    """The same for rows with a value for each column, in the table's order: some times as fast."""
    if not rows:
        return
    names = [column.name for column in table.columns]
    embedded = connection.dialect.name == "sqlite"
    # MySQL's driver takes values by position as well as by name, but its dialect writes names.
    dialect = connection.dialect if embedded else mysql.dialect(paramstyle="format")
    statement = _upsert_statement(connection.dialect.name, table, names, keep)
    text = str(statement.compile(dialect=dialect, column_keys=names))
    for some in [list(rows)] if embedded else _slices(rows, rows):
        connection.exec_driver_sql(text, some)


def _upsert_statement(dialect: str, table: Table, names: Sequence[str], keep: Sequence[str]) -> Any:
    keys = {column.name for column in table.primary_key}
    changed = [name for name in names if name not in keys and name not in keep]
    statement: Any
    if dialect == "sqlite":
        statement = sqlite.insert(table)
        if not changed:
            return statement.on_conflict_do_nothing()
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: statement.excluded[name] for name in changed},
        )
    statement = mysql.insert(table)
    updates = changed or sorted(keys)[:1]
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in updates})


def rows_by_key(
    connection: Connection,
    columns: Sequence[Column[Any]],
    keys: Collection[tuple[Any, ...]],
    *,
    lock: bool = False,
) -> Iterator[Sequence[Any]]:
    """Values of `columns`, all of one table, in those rows whose first columns have the values of a key.

    All keys have the same length. `lock` keeps the rows until a writing transaction ends. SQLite reads a
    whole table for `(a, b) IN (…)`, and uses an index for this.
    """
    for chunk in chunks(sorted(keys), _KEYS_PER_STATEMENT):
        text = _select_by_key(connection, columns, (len(chunk[0]), len(chunk)))
        if lock and connection.dialect.name != "sqlite":
            text += " FOR UPDATE"
        yield from rows_of_driver(connection, text, tuple(value for key in chunk for value in key))


def rows_of_driver(connection: Connection, text: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The rows of a query in the driver's own words, as plain tuples: some times as fast as rows by name.

    Few of them are alive at a time, so that the garbage collector does not look at all of them again and
    again.
    """
    cursor = connection.exec_driver_sql(text, values).cursor
    while cursor is not None and (some := cursor.fetchmany(_ROWS_PER_STATEMENT)):
        yield from some


def _select_by_key(connection: Connection, columns: Sequence[Column[Any]], shape: tuple[int, int]) -> str:
    quote = connection.dialect.identifier_preparer.quote
    names = [quote(column.name) for column in columns]
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    one = " AND ".join(f"{name} = {mark}" for name in names[: shape[0]])
    keys = " OR ".join([f"({one})"] * shape[1])
    return f"SELECT {', '.join(names)} FROM {quote(columns[0].table.name)} WHERE {keys}"  # noqa: S608


def chunks(values: Sequence[T], size: int = _ROWS_PER_STATEMENT) -> Iterator[Sequence[T]]:
    """Slices short enough for one `IN (…)`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def statements(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in slices that one statement can carry."""
    for some in _slices(rows, [row.values() for row in rows]):
        yield [dict(row) for row in some]


def _slices(rows: Sequence[T], values: Sequence[Iterable[Any]]) -> Iterator[list[T]]:
    slice_: list[T] = []
    size = 0
    for row, held in zip(rows, values, strict=True):
        weight = sum(4 * len(value) for value in held if isinstance(value, str | bytes))
        if slice_ and size + weight > _BYTES_PER_STATEMENT:
            yield slice_
            slice_, size = [], 0
        slice_.append(row)
        size += weight
    if slice_:
        yield slice_
