"""Small reads on a hot path: one SELECT by keys, past SQLAlchemy's statements and transactions."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError


def read_rows(engine: Engine, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a SELECT in which `?` stands for each of the values.

    It sees what is committed when it begins. Raises sqlalchemy.exc.DBAPIError as other reads do.
    """
    driver_error = engine.dialect.loaded_dbapi.Error
    try:
        connection = engine.raw_connection()
    except driver_error as error:
        raise _error(engine, sql, error, lost=False) from error
    try:
        cursor = connection.cursor()
        try:
            cursor.execute(_written(sql, engine.dialect.paramstyle), tuple(values))
            return list(cursor.fetchall())
        finally:
            cursor.close()
    except driver_error as error:
        lost = engine.dialect.is_disconnect(error, connection.driver_connection, None)
        if lost:
            connection.invalidate(error)
        raise _error(engine, sql, error, lost=lost) from error
    finally:
        connection.close()


def _error(engine: Engine, sql: str, error: Exception, *, lost: bool) -> Exception:
    """What SQLAlchemy makes of an error of the driver."""
    dialect = engine.dialect
    return DBAPIError.instance(
        sql, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
    )


@cache
def _written(sql: str, paramstyle: str) -> str:
    return sql if paramstyle == "qmark" else sql.replace("?", "%s")
