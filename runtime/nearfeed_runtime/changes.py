"""Numbers of changes, in the order of their commits, and the revisions of users."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, literal_column, select, update
from sqlalchemy.dialects import mysql, sqlite

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import change_sequence, user_revisions
from nearfeed_runtime.sql import chunks, claim

# MySQL's driver makes one statement of many rows only where nothing but the values has parameters.
_ONE: ColumnElement[int] = literal_column("1")


def lock_changes(transaction: Connection, name: str) -> None:
    """Waits for all other transactions that lock or raise the sequence, and keeps it until the end."""
    claim(transaction, change_sequence, [{"name": name, "value": 0}])


def next_change(transaction: Connection, name: str, count: int = 1) -> int:
    """Takes `count` consecutive numbers of a sequence, which begins at 1, and returns the first.

    The sequence stays locked until the transaction ends, so that numbers are in the order of commits: who
    has read everything up to a number finds everything else above it. Writers wait for each other from here
    on; so this comes after the locks of the rows that get the number.
    """
    value = change_sequence.c.value
    raised = _insert_or_set(transaction, change_sequence, {"value": value + count})
    transaction.execute(raised, {"name": name, "value": count})
    last = transaction.scalars(select(value).where(change_sequence.c.name == name)).one()
    return int(last) - count + 1


def raise_revisions(transaction: Connection, user_ids: Collection[str]) -> None:
    """Gives each of the users a higher revision, which says that what a feed needs of them has changed.

    The rows stay locked until the transaction ends. Call it before anything of the users is locked, so that
    two transactions that change the same user wait for each other here, and cannot end in a deadlock.
    A first revision is the time in microseconds: a user who was erased and comes back gets none of those
    that they had before.
    """
    raised = _insert_or_set(transaction, user_revisions, {"revision": user_revisions.c.revision + _ONE})
    now = now_micros()
    for chunk in chunks(sorted(set(user_ids))):
        transaction.execute(raised, [{"user_id": user_id, "revision": now} for user_id in chunk])


def raise_all_revisions(transaction: Connection) -> None:
    """Does so for all users."""
    transaction.execute(update(user_revisions).values(revision=user_revisions.c.revision + _ONE))


def _insert_or_set(transaction: Connection, table: Table, values: Mapping[str, Any]) -> Any:
    if transaction.dialect.name == "sqlite":
        key = list(table.primary_key)
        return sqlite.insert(table).on_conflict_do_update(index_elements=key, set_=dict(values))
    return mysql.insert(table).on_duplicate_key_update(dict(values))
