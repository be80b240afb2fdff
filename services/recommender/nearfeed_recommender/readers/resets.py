"""Readers who begin anew: what they did up to a moment is void, in SQL from that moment on."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, ScalarSelect, delete, select

from nearfeed_contracts.tables import reader_resets
from nearfeed_recommender.readers.erasures import erased_since, erasures
from nearfeed_runtime.sql import chunks, claim, upsert

LONG_AGO = -(2**62)
"""A time before all others, in microseconds."""


def put_reset(transaction: Connection, user_id: str, moment: int) -> None:
    """Makes void what the reader did up to `moment`, in microseconds; an earlier reset changes nothing."""
    claim(transaction, reader_resets, [{"user_id": user_id, "reset_at": LONG_AGO}])
    latest = max(moment, resets(transaction, [user_id]).get(user_id, LONG_AGO))
    upsert(transaction, reader_resets, [{"user_id": user_id, "reset_at": latest}])


def forget_reset(transaction: Connection, user_id: str, moment: int) -> None:
    """Removes a reset that was not later than `moment`."""
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


def began_anew_at(connection: Connection, secret: bytes, user_id: str) -> int:
    """When the reader was reset or erased last, in microseconds; LONG_AGO where never."""
    reset = resets(connection, [user_id]).get(user_id, LONG_AGO)
    return max(reset, erasures(connection, secret, {user_id}).get(user_id, LONG_AGO))
