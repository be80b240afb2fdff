"""Retention and compaction of the embedded log, in short transactions beside appends."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta

from nearfeed_backends.embedded.log_file import log_connection
from nearfeed_contracts.event_log import DEAD_SUFFIX
from nearfeed_contracts.topics import READER_RETENTION, TOPICS, Topic

TOMBSTONE_RETENTION = timedelta(days=1)
_ROWS_PER_TRANSACTION = 1_000
_PAGES_GIVEN_BACK = 10_000
_OLD = "SELECT offset FROM messages WHERE topic = ? AND timestamp < ?"
_SUPERSEDED = (
    "SELECT offset FROM (SELECT offset, max(offset) OVER (PARTITION BY key) AS newest "
    "FROM messages WHERE topic = ?) WHERE offset < newest"
)
_OLD_TOMBSTONES = _OLD + " AND value IS NULL"


def apply_retention(path: str, now: int) -> None:
    """Deletes what each topic's rule lets go at `now` (microseconds), and gives free pages back."""
    with closing(log_connection(path)) as connection:
        for (name,) in connection.execute("SELECT topic FROM ends").fetchall():
            rule = rule_of(name)
            if rule.retention is not None:
                _delete(connection, name, _OLD, (name, _before(now, rule.retention)))
            if rule.compacted:
                _delete(connection, name, _SUPERSEDED, (name,))
                _delete(connection, name, _OLD_TOMBSTONES, (name, _before(now, TOMBSTONE_RETENTION)))
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def rule_of(name: str) -> Topic:
    """The rule of a topic; topics of unreadable messages are kept as long as those with reader ids."""
    if name.endswith(DEAD_SUFFIX):
        return Topic(name, retention=READER_RETENTION)
    return TOPICS.get(name, Topic(name))


def _before(now: int, age: timedelta) -> int:
    return now - age // timedelta(microseconds=1)


def _delete(connection: sqlite3.Connection, topic: str, query: str, values: tuple[object, ...]) -> None:
    # What a query finds stays deletable: appends only make more of it. So it runs outside the write lock.
    found = connection.execute(query, values).fetchall()
    for rows in _slices(found):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "DELETE FROM messages WHERE topic = ? AND offset = ?", ((topic, offset) for (offset,) in rows)
            )


def _slices(rows: list[tuple[int]]) -> Iterable[list[tuple[int]]]:
    return (
        rows[start : start + _ROWS_PER_TRANSACTION] for start in range(0, len(rows), _ROWS_PER_TRANSACTION)
    )
