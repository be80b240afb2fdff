"""A reader's wish to begin anew, as the API carries it out: it holds from the answer on, in every space."""

from sqlalchemy import Connection, delete, or_, select

from nearfeed_contracts.events import ReaderControlChanged, ReaderReset
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import feed_pages, interactions, reader_controls
from nearfeed_core.readings import EXCLUDING
from nearfeed_recommender.outbox import put_outbox
from nearfeed_recommender.readers.memberships import (
    communities_of,
    leave_community,
    set_control,
    set_controls,
)
from nearfeed_recommender.readers.resets import put_reset, reset_of
from nearfeed_recommender.readers.rows import standing_reading
from nearfeed_recommender.readers.user_vectors import mark_reader_stale
from nearfeed_runtime.sql import upsert


def reset_reader(
    transaction: Connection, user_id: str, moment: int, *, controls: bool, memberships: bool
) -> None:
    """Makes void what the reader did up to `moment`, in microseconds; the consumer removes it.

    With `controls` and `memberships` these go too. Without `controls`, posts that were hidden or reported
    by an event stay away, from now on by the control `hide`.
    """
    if controls:
        for control, target, _ in set_controls(transaction, user_id):
            set_control(transaction, user_id, control, target, active=False)
    else:
        _hide(transaction, user_id, _turned_down(transaction, user_id), moment)
    if memberships:
        for community in sorted(communities_of(transaction, user_id)):
            leave_community(transaction, user_id, community)
    void_until(transaction, user_id, moment)
    put_outbox(transaction, [ReaderReset(user_id=user_id, reset_at=from_micros(moment))])


def void_until(transaction: Connection, user_id: str, moment: int) -> None:
    """What the reader did up to `moment` counts no more; pages that were ranked by it are gone."""
    put_reset(transaction, user_id, moment)
    mark_reader_stale(transaction, user_id)
    transaction.execute(delete(feed_pages).where(feed_pages.c.user_id == user_id))


def _turned_down(connection: Connection, user_id: str) -> list[str]:
    told = or_(*(interactions.c[f"{kind}_at"].is_not(None) for kind in EXCLUDING))
    query = select(interactions, reset_of(user_id).label("reset_at")).where(
        interactions.c.user_id == user_id, told
    )
    rows = connection.execute(query).mappings()
    return [row["item_id"] for row in rows if not standing_reading(row).times.keys().isdisjoint(EXCLUDING)]


def _hide(transaction: Connection, user_id: str, items: list[str], moment: int) -> None:
    rows = [{"user_id": user_id, "control": "hide", "target": item, "set_at": moment} for item in items]
    upsert(transaction, reader_controls, rows, keep=["set_at"])
    put_outbox(
        transaction,
        [
            ReaderControlChanged(
                user_id=user_id, control="hide", target=item, active=True, changed_at=from_micros(moment)
            )
            for item in items
        ],
    )
