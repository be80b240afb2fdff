"""MySQL 8 and MariaDB: how they are connected to, and one migration at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    URL,
    Connection,
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
from sqlalchemy.exc import NoSuchModuleError

from nearfeed_backends.errors import DATABASE, BackendSettingError, missing_driver
from nearfeed_backends.migrations import current_revision, migrate
from nearfeed_contracts.tables import READ_ONLY_OPTION, metadata

_POOL = 16
_OVERFLOW = 48
_POOL_SECONDS = 10
_RECYCLE_SECONDS = 1_800  # below the idle limits of servers and proxies
_CONNECT_SECONDS = 10
_MIGRATION_SECONDS = 300
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
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_size=_POOL,
            max_overflow=_OVERFLOW,
            pool_timeout=_POOL_SECONDS,
            pool_recycle=_RECYCLE_SECONDS,
            connect_args={
                "charset": "utf8mb4",
                "collation": "utf8mb4_bin",
                "connection_timeout": _CONNECT_SECONDS,
            },
        )
    except (ModuleNotFoundError, NoSuchModuleError):
        raise missing_driver(DATABASE, url.drivername, "mysql-connector-python") from None
    event.listen(engine, "begin", _begin)
    return engine


def migrate_alone(engine: Engine) -> None:
    """Brings the schema to HEAD; of several processes that start at once, one does it."""
    with engine.connect() as connection, _migration_lock(connection):
        _make_text_exact(connection)
        if current_revision(connection) is None:
            _clear_unfinished(connection)
        migrate(connection)
        connection.commit()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(READ_ONLY_OPTION):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


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
