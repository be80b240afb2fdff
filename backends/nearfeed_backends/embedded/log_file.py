"""The SQLite file of the embedded log."""

import sqlite3
from pathlib import Path

from nearfeed_backends.errors import LOG, BackendSettingError

_VERSION = 1
_BUSY_TIMEOUT_SECONDS = 10
# Erased readers must not linger in free pages, hence secure_delete.
_PRAGMAS = (
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
)
_SCHEMA = (
    "CREATE TABLE ends (topic TEXT PRIMARY KEY, next_offset INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE messages (topic TEXT NOT NULL, offset INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, "
    "timestamp INTEGER NOT NULL, PRIMARY KEY (topic, offset))",
    f"PRAGMA user_version = {_VERSION}",
)


def log_connection(path: str) -> sqlite3.Connection:
    """A connection in autocommit to the log's file, which is made if it is missing.

    Raises BackendSettingError that says what to mend.
    """
    file = Path(path)
    if file.is_dir():
        raise BackendSettingError(f"{LOG}: {path} is a folder; name a file in it.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _connect(path)
    except OSError as error:
        raise BackendSettingError(
            f"{LOG}: the folder {file.parent} cannot be made ({error.strerror}); name one that can."
        ) from None
    except sqlite3.DatabaseError as error:
        raise BackendSettingError(
            f"{LOG}: {path} cannot be used as a log ({error}); name another file, or restore this one."
        ) from error


def end_of(connection: sqlite3.Connection, topic: str) -> int | None:
    """The offset after a topic's last message; None if nothing was ever appended to it."""
    row = connection.execute("SELECT next_offset FROM ends WHERE topic = ?", (topic,)).fetchone()
    return int(row[0]) if row else None


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        _ensure_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _ensure_schema(connection: sqlite3.Connection, path: str) -> None:
    if _version(connection) == _VERSION:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection) == _VERSION:
            return
        if _version(connection) > _VERSION:
            raise BackendSettingError(
                f"{LOG}: {path} was written by a newer Nearfeed; install that release, or name another file."
            )
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise BackendSettingError(f"{LOG}: {path} is a database of something else; name another file.")
        for statement in _SCHEMA:
            connection.execute(statement)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
