"""SQL engines by URL, each brought to the newest schema when it is opened."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from nearfeed_backends.errors import DATABASE, BackendSettingError, unknown_scheme
from nearfeed_backends.sql.migrations import HEAD, current_revision, migrate
from nearfeed_backends.sql.mysql import migrate_alone, mysql_engine
from nearfeed_contracts.errors import BackendUnavailableError, NearfeedError
from nearfeed_contracts.tables import READ_ONLY_OPTION

BUSY_TIMEOUT_SECONDS = 10
_THREADS = 64
_FORMS = ["sqlite:////PATH", "mysql+mysqlconnector://USER:PASSWORD@HOST/DATABASE"]
_PRAGMAS = ("synchronous=FULL", "foreign_keys=ON")
_REMEDIES = {
    "file is not a database": "name another file, for this one holds something else",
    "malformed": "restore the file from a backup, or name another",
    "locked": "end the process that holds it",
    "connect": "start the server, or correct the address",
    "Access denied": "correct the user and password, or grant the user all rights on the database",
    "Unknown database": "make it with CREATE DATABASE, or correct its name",
}


def open_database(url: str) -> Engine:
    """The migrated database of a URL. Raises BackendSettingError that says what to mend.

    Raises BackendUnavailableError where no server answers.

    With the engine's execution option READ_ONLY_OPTION a transaction reads a snapshot and waits for
    nobody. Else, on SQLite, it takes the write lock from its first statement on, and waits up to ten
    seconds for it; on MySQL it reads what is committed and locks the rows that it changes. A commit
    is on disk when it returns.
    """
    engine = _make_engine(url)
    try:
        _bring_to_head(engine)
    except BaseException as error:
        engine.dispose()
        if isinstance(error, DBAPIError):
            raise _explained(engine, error) from error
        if isinstance(error, AttributeError) and "Unsupported argument" in str(error):
            raise BackendSettingError(f"{DATABASE}: {error} after the ? of the URL; leave it out.") from None
        raise
    return engine


def _make_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise unknown_scheme(DATABASE, url, _FORMS) from None
    except ValueError as error:
        raise BackendSettingError(f"{DATABASE}: the port is no number ({error}); correct it.") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_engine(parsed)
    if parsed.drivername == "mysql+mysqlconnector":
        return mysql_engine(parsed)
    raise unknown_scheme(DATABASE, url, _FORMS)


def _sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise BackendSettingError(f"{DATABASE}: {url} names no file; use {_FORMS[0]}.")
    _make_folder(Path(str(url.database)))
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        pool_size=_THREADS,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _make_folder(file: Path) -> None:
    if file.is_dir():
        raise BackendSettingError(f"{DATABASE}: {file} is a folder; name a file in it.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendSettingError(
            f"{DATABASE}: the folder {file.parent} cannot be made ({error.strerror}); name one that can."
        ) from None


def _set_up(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own transactions are switched off, so that _begin chooses how one begins.
    connection.isolation_level = None
    _enter_wal(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    # SQLite's own knows the letters from A to Z alone; MySQL's knows all.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _enter_wal(connection: sqlite3.Connection) -> None:
    # Where another connection writes, SQLite refuses the switch at once, whatever the busy timeout is.
    until = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.01)


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get(READ_ONLY_OPTION)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _bring_to_head(engine: Engine) -> None:
    with engine.execution_options(**{READ_ONLY_OPTION: True}).connect() as connection:
        if current_revision(connection) == HEAD:
            return
    if engine.dialect.name != "sqlite":
        migrate_alone(engine)
        return
    with engine.begin() as connection:
        migrate(connection)


def _explained(engine: Engine, error: DBAPIError) -> NearfeedError:
    cause = str(error.orig)
    remedy = next((text for key, text in _REMEDIES.items() if key in cause), "name one that can be written")
    sentence = f"{DATABASE}: {engine.url} cannot be opened ({cause}); {remedy}."
    return BackendUnavailableError(sentence) if "connect" in cause else BackendSettingError(sentence)
