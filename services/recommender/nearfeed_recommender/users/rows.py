"""Rows of the table `interactions`, to and from readings, and the merging of events into them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, or_, select

from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.tables import interactions
from nearfeed_core.readings import Reading
from nearfeed_runtime.changes import raise_revisions
from nearfeed_runtime.sql import rows_by_key, upsert_tuples

Pair = tuple[str, str]
_COLUMNS = tuple(interactions.c)  # user, item, a time for each kind, rating, newest time that counts


def reading_of(row: Mapping[Any, Any]) -> Reading:
    """The reading that a row of `interactions` keeps."""
    times = {kind: row[f"{kind}_at"] for kind in KINDS if row[f"{kind}_at"] is not None}
    return Reading(times, row["rating_value"])


def reading_after_reset(row: Mapping[Any, Any]) -> Reading:
    """What a reset of the reader (`reset_at` of the row, None without one) leaves of it."""
    whole = reading_of(row)
    return whole if row["reset_at"] is None else whole.after(row["reset_at"])


def merge_events(transaction: Connection, events: Iterable[Interaction]) -> None:
    """Merges events into rows by maximum: any order and any repetition ends in the same rows."""
    merged: dict[Pair, Reading] = {}
    batch = list(events)
    raise_revisions(transaction, {event.user_id for event in batch})
    stored = _stored_readings(transaction, sorted({(event.user_id, event.item_id) for event in batch}))
    for event in batch:
        pair = (event.user_id, event.item_id)
        before = merged.get(pair) or stored.get(pair) or Reading()
        merged[pair] = before.merged(event.kind, to_micros(event.occurred_at), event.value)
    upsert_tuples(transaction, interactions, [_row_of(pair, after) for pair, after in merged.items()])


def trim_rows(transaction: Connection, user_id: str, moment: int) -> None:
    """Removes what a reader did at `moment` or before; a row that has nothing left goes."""
    raise_revisions(transaction, [user_id])
    times = [interactions.c[f"{kind}_at"] for kind in KINDS]
    own = interactions.c.user_id == user_id
    nothing_later = [or_(time.is_(None), time <= moment) for time in times]
    transaction.execute(delete(interactions).where(own, *nothing_later))
    touched = or_(*(time <= moment for time in times))
    rows = transaction.execute(select(interactions).where(own, touched).with_for_update()).mappings().all()
    kept = [_row_of((user_id, row["item_id"]), reading_of(row).after(moment)) for row in rows]
    upsert_tuples(transaction, interactions, kept)


def _stored_readings(transaction: Connection, pairs: Sequence[Pair]) -> dict[Pair, Reading]:
    found: dict[Pair, Reading] = {}
    for user_id, item_id, *times, rating, _ in rows_by_key(transaction, _COLUMNS, pairs, lock=True):
        known = {kind: at for kind, at in zip(KINDS, times, strict=True) if at is not None}
        found[user_id, item_id] = Reading(known, rating)
    return found


def _row_of(pair: Pair, after: Reading) -> tuple[Any, ...]:
    """The values of _COLUMNS."""
    return (*pair, *map(after.times.get, KINDS), after.rating, after.newest_at())
