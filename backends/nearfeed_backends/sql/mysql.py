"""MySQL 8 and MariaDB: how they are connected to, and one migration at a time."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    create_engine,
    event,
    func,
    inspect,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.exc import InvalidatePoolError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

from nearfeed_backends.errors import DATABASE, BackendSettingError, missing_driver
from nearfeed_backends.sql.migrations import current_revision, migrate
from nearfeed_contracts.tables import READ_ONLY_OPTION, metadata

_POOL = 16
_OVERFLOW = 48
_POOL_SECONDS = 10
_RECYCLE_SECONDS = 1_800  # below the idle limits of servers and proxies
_CONNECT_SECONDS = 10
_MIGRATION_SECONDS = 300
_IDLE_SECONDS = 1.0
_USED_AT = "nearfeed_used_at"
_VERSIONS = "alembic_version"


def mysql_engine(url: URL) -> Engine:
    """A pooled engine whose writers read what is committed and whose readers keep a snapshot."""
    if not url.database:
        raise BackendSettingError(
            f"{DATABASE}: {url} names no database; use mysql+mysqlconnector://USER:PASSWORD@HOST/DATABASE."
        )
    try:
        engine = create_engine(
            url,
            pool_size=_POOL,
            max_overflow=_OVERFLOW,
            pool_timeout=_POOL_SECONDS,
            pool_recycle=_RECYCLE_SECONDS,
            pool_reset_on_return=None,
            connect_args={
                "autocommit": True,
                "charset": "utf8mb4",
                "collation": "utf8mb4_bin",
                "connection_timeout": _CONNECT_SECONDS,
            },
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise missing_driver(DATABASE, url.drivername, "mysql-connector-python") from None
    event.listen(engine, "connect", _make_reader)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "reset", _end_transaction)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_ping_if_idle, engine.dialect))
    return engine


def migrate_alone(engine: Engine) -> None:
    """Brings the schema to HEAD; of several processes that start at once, one does it."""
    with engine.connect() as connection, _migration_lock(connection), _writing_throughout(connection):
        _make_text_exact(connection)
        if current_revision(connection) is None:
            _clear_unfinished(connection)
        migrate(connection)
        connection.commit()


def _make_reader(connection: Any, _record: Any) -> None:
    """Transactions of a session read, for most do: those that write say so.

    The driver pings the server before each cursor, which would be one more round trip for each statement.
    """
    connection.is_connected = lambda: True
    with closing(connection.cursor()) as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _begin(connection: Connection) -> None:
    """A session commits each statement by itself, so that a single SELECT is one round trip and no more."""
    if connection.get_execution_options().get(READ_ONLY_OPTION):
        connection.exec_driver_sql("START TRANSACTION READ ONLY")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.exec_driver_sql("START TRANSACTION READ WRITE")


def _end_transaction(connection: Any, _record: ConnectionPoolEntry, state: PoolResetState) -> None:
    """A connection goes back to the pool without a transaction; the server has said whether there is one."""
    if not state.terminate_only and connection.in_transaction:
        connection.rollback()


@contextmanager
def _writing_throughout(connection: Connection) -> Iterator[None]:
    """A change of the schema commits, so that what follows it is a transaction of its own."""
    connection.exec_driver_sql("SET SESSION TRANSACTION READ WRITE")
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")


def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _ping_if_idle(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """A server that has been started anew has lost its connections, which takes it longer than a second."""
    if time.monotonic() - record.info.get(_USED_AT, time.monotonic()) < _IDLE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError(str(error)) from error


@contextmanager
def _migration_lock(connection: Connection) -> Iterator[None]:
    # Names of locks hold for the whole server and have 64 characters at most.
    name = func.sha1(func.concat("nearfeed migration ", func.database()))
    if not connection.scalar(select(func.get_lock(name, _MIGRATION_SECONDS))):
        raise BackendSettingError(
            f"{DATABASE}: another process has been migrating the database for {_MIGRATION_SECONDS} s; "
            "look at its log, or end it."
        )
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.scalar(select(func.release_lock(name)))


def _make_text_exact(connection: Connection) -> None:
    """Columns that name no character set of their own hold all text and compare byte for byte."""
    collation = connection.scalar(text("SELECT @@collation_database"))
    if collation != "utf8mb4_bin":
        connection.execute(text("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"))


def _clear_unfinished(connection: Connection) -> None:
    """Removes what a first migration left that broke off: here each table is committed by itself.

    Nothing that holds a row, and nothing beside tables that are not Nearfeed's.
    """
    found = set(inspect(connection).get_table_names())
    if _VERSIONS not in found or not found <= {*metadata.tables, _VERSIONS}:
        return
    if any(_has_rows(connection, name) for name in found):
        return
    metadata.drop_all(connection)
    connection.execute(text(f"DROP TABLE {_VERSIONS}"))


def _has_rows(connection: Connection, name: str) -> bool:
    return connection.scalar(select(literal_column("1")).select_from(table(name)).limit(1)) is not None
