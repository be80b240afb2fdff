"""A reader's wish to begin anew, as the API carries it out: it holds from the answer on, in every space."""

from sqlalchemy import Connection, and_, delete, func, or_, select

from nearfeed_contracts.events import ReaderReset
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import feed_pages, interactions
from nearfeed_core.readings import EXCLUDING
from nearfeed_recommender.infra.outbox import put_outbox
from nearfeed_recommender.users.memberships import (
    communities_of,
    leave_community,
    set_all,
    set_control,
    set_controls,
)
from nearfeed_recommender.users.reset_marks import LONG_AGO, put_reset, reset_of
from nearfeed_recommender.users.user_vectors import mark_reader_stale


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
        set_all(transaction, user_id, "hide", turned_down(transaction, user_id, moment), moment)
    if memberships:
        for community in sorted(communities_of(transaction, user_id)):
            leave_community(transaction, user_id, community)
    void_until(transaction, user_id, moment, controls=controls)
    put_outbox(transaction, [ReaderReset(user_id=user_id, reset_at=from_micros(moment), controls=controls)])


def void_until(transaction: Connection, user_id: str, moment: int, *, controls: bool) -> None:
    """What the reader did up to `moment` counts no more; pages that were ranked by it are gone.

    With `controls`, what they turned down by an event is forgotten as well.
    """
    put_reset(transaction, user_id, moment, controls=controls)
    mark_reader_stale(transaction, user_id)
    transaction.execute(delete(feed_pages).where(feed_pages.c.user_id == user_id))


def turned_down(connection: Connection, user_id: str, moment: int) -> list[str]:
    """Posts that the reader has hidden or reported by an event up to `moment`, since the last reset."""
    since = func.coalesce(reset_of(user_id), LONG_AGO)
    times = (interactions.c[f"{kind}_at"] for kind in EXCLUDING)
    told = or_(*(and_(time > since, time <= moment) for time in times))
    query = select(interactions.c.item_id).where(interactions.c.user_id == user_id, told)
    return sorted(connection.scalars(query))
