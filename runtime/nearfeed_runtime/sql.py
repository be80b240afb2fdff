"""SQL that SQLite and MySQL spell differently, and the two kinds of connection."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import mysql, sqlite

from nearfeed_contracts.tables import READ_ONLY_OPTION

_ROWS_PER_STATEMENT = 500
T = TypeVar("T")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads: it waits for no writer."""
    with engine.execution_options(**{READ_ONLY_OPTION: True}).connect() as connection:
        yield connection


def writing(engine: Engine) -> Any:
    """A transaction that writes: it holds SQLite's write lock from its first statement."""
    return engine.begin()


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, keep: Sequence[str] = ()
) -> None:
    """Inserts rows, or overwrites those of the same primary key but for the columns in `keep`.

    All rows must have the same columns.
    """
    if not rows:
        return
    keys = {column.name for column in table.primary_key}
    changed = [name for name in rows[0] if name not in keys and name not in keep]
    statement: Any
    if connection.dialect.name == "sqlite":
        statement = sqlite.insert(table)
        statement = (
            statement.on_conflict_do_update(
                index_elements=list(table.primary_key),
                set_={name: statement.excluded[name] for name in changed},
            )
            if changed
            else statement.on_conflict_do_nothing()
        )
    else:
        statement = mysql.insert(table)
        updates = changed or sorted(keys)[:1]
        statement = statement.on_duplicate_key_update({name: statement.inserted[name] for name in updates})
    connection.execute(statement, [dict(row) for row in rows])


def chunks(values: Sequence[T], size: int = _ROWS_PER_STATEMENT) -> Iterator[Sequence[T]]:
    """Slices short enough for one `IN (…)`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
