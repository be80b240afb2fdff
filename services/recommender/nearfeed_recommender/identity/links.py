"""What a reader is assigned to experiments by: their id, or one under which they were known before.

Ids that belong together are a group with one unit: that of its ids which was served first. As every
member keeps when it was first served, the order in which they are told to belong together does not matter.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, or_, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import reader_units, served_requests
from nearfeed_runtime.changes import raise_revisions
from nearfeed_runtime.sql import chunks, claim, upsert

Member = Row[Any]


def unit_of(connection: Connection, user_id: str) -> str:
    """What a reader is assigned by."""
    query = select(reader_units.c.unit_id).where(reader_units.c.user_id == user_id)
    return connection.scalar(query) or user_id


def merge_ids(transaction: Connection, user_id: str, anonymous_id: str) -> str:
    """Lets two ids, with those that belong to either, be one reader; returns their unit.

    Where neither has been served as far as the ledger goes, the anonymous one was there first. Repetition
    changes nothing.
    """
    now = now_micros()
    alone = [_row(each, each, now) for each in sorted({user_id, anonymous_id})]
    claim(transaction, reader_units, alone)
    members = {row.user_id: row for row in _groups(transaction, [user_id, anonymous_id])}
    first = {
        each: _first_served(transaction, each, members.get(each))
        for each in {user_id, anonymous_id, *members}
    }
    served = [(at, each) for each, at in first.items() if at is not None]
    unit = min(served)[1] if served else _unit_unserved(list(members.values()), user_id, anonymous_id)
    merged_at = {each: row.merged_at for each, row in members.items()}
    rows = [_row(each, unit, merged_at.get(each, now), at) for each, at in sorted(first.items())]
    upsert(transaction, reader_units, rows)
    raise_revisions(transaction, list(first))
    return unit


def forget_units(transaction: Connection, user_id: str) -> None:
    """Lets go of an id, and of those that were assigned by it."""
    mine = or_(reader_units.c.user_id == user_id, reader_units.c.unit_id == user_id)
    members = list(transaction.scalars(select(reader_units.c.user_id).where(mine)))
    transaction.execute(delete(reader_units).where(mine))
    raise_revisions(transaction, members)


def kin_of(transaction: Connection, user_ids: Collection[str]) -> dict[str, set[str]]:
    """All ids of those of these readers that were merged with another id, by each of theirs."""
    own, same = reader_units.alias(), reader_units.alias()
    query = select(own.c.user_id, own.c.unit_id, same.c.user_id.label("other")).join(
        same, same.c.unit_id == own.c.unit_id
    )
    found: dict[str, set[str]] = defaultdict(set)
    for chunk in chunks(sorted(user_ids)):
        for row in transaction.execute(query.where(own.c.user_id.in_(chunk))):
            found[row.user_id] |= {row.unit_id, row.other}
    return found


def _groups(transaction: Connection, ids: Sequence[str]) -> Sequence[Member]:
    """The members of the groups of ids."""
    own = select(reader_units.c.unit_id).where(reader_units.c.user_id.in_(ids))
    units = list(transaction.scalars(own))
    return transaction.execute(select(reader_units).where(reader_units.c.unit_id.in_(units))).all()


def _unit_unserved(members: Sequence[Member], user_id: str, anonymous_id: str) -> str:
    """That of the group that one of them is in already."""
    units = {row.user_id: row.unit_id for row in members}
    sizes = Counter(units.values())
    there = (units[each] for each in (user_id, anonymous_id) if each in units and sizes[units[each]] > 1)
    return next(there, anonymous_id)


def _first_served(transaction: Connection, user_id: str, row: Member | None) -> int | None:
    query = select(func.min(served_requests.c.served_at)).where(served_requests.c.user_id == user_id)
    found: Iterable[int | None] = (row.first_served_at if row else None, transaction.scalar(query))
    return min((at for at in found if at is not None), default=None)


def _row(user_id: str, unit: str, merged_at: int, first_served_at: int | None = None) -> dict[str, Any]:
    return {"user_id": user_id, "unit_id": unit, "merged_at": merged_at, "first_served_at": first_served_at}
