"""Readers who begin anew: what they did up to a moment is void, in SQL from that moment on."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, ScalarSelect, delete, select

from nearfeed_contracts.tables import reader_resets
from nearfeed_recommender.identity.erasures import erased_since
from nearfeed_runtime.changes import raise_revisions
from nearfeed_runtime.sql import chunks, claim, upsert

LONG_AGO = -(2**62)
"""A time before all others, in microseconds."""


def put_reset(transaction: Connection, user_id: str, moment: int, *, controls: bool) -> None:
    """Makes void what the reader did up to `moment`, in microseconds; with `controls` what they set, too.

    A reset that is earlier than one that is known changes nothing.
    """
    raise_revisions(transaction, [user_id])
    row: dict[str, Any] = {"user_id": user_id, "reset_at": LONG_AGO, "controls_reset_at": LONG_AGO}
    claim(transaction, reader_resets, [row])
    own = select(reader_resets).where(reader_resets.c.user_id == user_id)
    for before in transaction.execute(own).mappings():
        row = dict(before)
    row["reset_at"] = max(row["reset_at"], moment)
    if controls:
        row["controls_reset_at"] = max(row["controls_reset_at"], moment)
    upsert(transaction, reader_resets, [row])


def forget_reset(transaction: Connection, user_id: str, moment: int) -> None:
    """Removes a reset that was not later than `moment`."""
    raise_revisions(transaction, [user_id])
    own = (reader_resets.c.user_id == user_id, reader_resets.c.reset_at <= moment)
    transaction.execute(delete(reader_resets).where(*own))


def reset_of(user_id: str) -> ScalarSelect[int]:
    """When the reader was reset last, as a subquery; NULL where never."""
    return select(reader_resets.c.reset_at).where(reader_resets.c.user_id == user_id).scalar_subquery()


def resets(connection: Connection, user_ids: Iterable[str]) -> dict[str, int]:
    """When those of `user_ids` that were reset were so last, in microseconds."""
    found: dict[str, int] = {}
    for chunk in chunks(sorted(set(user_ids))):
        rows = connection.execute(select(reader_resets).where(reader_resets.c.user_id.in_(chunk)))
        found.update({row.user_id: row.reset_at for row in rows})
    return found


def void_since(connection: Connection, secret: bytes, moments: Sequence[tuple[str, int]]) -> list[bool]:
    """Of each user id with a time in microseconds whether the reader was erased or reset then or later."""
    reset = resets(connection, {user_id for user_id, _ in moments})
    erased = erased_since(connection, secret, moments)
    return [
        gone or at <= reset.get(user_id, LONG_AGO)
        for gone, (user_id, at) in zip(erased, moments, strict=True)
    ]


def leaves_controls(connection: Connection, secret: bytes, moments: Sequence[tuple[str, int]]) -> list[bool]:
    """Of each user id with a time in microseconds whether a reset, then or later, left controls of that time.

    Not where there was an erasure then or later.
    """
    erased = erased_since(connection, secret, moments)
    known: dict[str, Row[Any]] = {}
    for chunk in chunks(sorted({user_id for user_id, _ in moments})):
        rows = connection.execute(select(reader_resets).where(reader_resets.c.user_id.in_(chunk)))
        known.update({row.user_id: row for row in rows})
    return [
        not gone and user_id in known and known[user_id].controls_reset_at < at <= known[user_id].reset_at
        for gone, (user_id, at) in zip(erased, moments, strict=True)
    ]
