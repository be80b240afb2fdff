"""The consumer: events become rows, rows become user vectors."""

from collections.abc import Sequence
from functools import partial
from itertools import islice

from sqlalchemy import Connection, delete

from nearfeed_contracts.events import Event, Interaction, ReaderReset, UserErased
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.tables import erased_users, feed_pages, memberships, reader_controls, user_vectors
from nearfeed_core.readings import EXCLUDING
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings, claim_readers, forget_outcomes
from nearfeed_recommender.exposure_log.store import forget_served
from nearfeed_recommender.identity.erasures import erased_since, erasures, hash_user
from nearfeed_recommender.users.erasure import rename_author
from nearfeed_recommender.users.memberships import set_all
from nearfeed_recommender.users.profiles import Pooling
from nearfeed_recommender.users.reset import turned_down
from nearfeed_recommender.users.reset_marks import (
    LONG_AGO,
    forget_reset,
    leaves_controls,
    put_reset,
    resets,
    void_since,
)
from nearfeed_recommender.users.rows import merge_events, trim_rows
from nearfeed_recommender.users.user_vectors import forget_revisions, live_spaces, mark_stale, refresh_vectors
from nearfeed_runtime.changes import raise_revisions
from nearfeed_runtime.consume import Handlers
from nearfeed_runtime.sql import upsert

GROUP = "recommender"
READERS_AT_ONCE = 200


def handlers(pooling: Pooling, joining: AttributionSettings) -> Handlers:
    """The flow from an event to what it changes."""
    return {
        Interaction: [partial(merge_rows, joining.secret), partial(refresh_readers, pooling)],
        ReaderReset: [partial(reset_readers, joining.secret), partial(refresh_readers, pooling)],
        UserErased: [partial(erase_readers, joining), partial(refresh_readers, pooling)],
    }


def merge_rows(secret: bytes, transaction: Connection, events: Sequence[Event]) -> None:
    """Merges interactions into rows, without those that an erasure or a reset made void.

    A post that was turned down before a reset stays away by a control.
    """
    actions = [event for event in events if isinstance(event, Interaction)]
    voided = void_since(
        transaction, secret, [(event.user_id, to_micros(event.occurred_at)) for event in actions]
    )
    merge_events(transaction, [event for event, void in zip(actions, voided, strict=True) if not void])
    void_events = [event for event, void in zip(actions, voided, strict=True) if void]
    hide_again(transaction, secret, [event for event in void_events if event.kind in EXCLUDING])


def hide_again(transaction: Connection, secret: bytes, events: Sequence[Interaction]) -> None:
    """Hides posts by the control, of which a reset has made void that they were turned down.

    Not where the reset, or an erasure, took controls away.
    """
    moments = [(event.user_id, to_micros(event.occurred_at)) for event in events]
    kept = leaves_controls(transaction, secret, moments)
    for event, keep in zip(events, kept, strict=True):
        if keep:
            set_all(transaction, event.user_id, "hide", [event.item_id], to_micros(event.occurred_at))


def refresh_readers(pooling: Pooling, transaction: Connection, events: Sequence[Event]) -> None:
    """Recomputes the touched readers in every live space; of many, the rest is marked stale."""
    about = (event for event in events if isinstance(event, Interaction | ReaderReset | UserErased))
    touched = iter({event.user_id: None for event in about})
    now, later = list(islice(touched, READERS_AT_ONCE)), list(touched)
    for space, blocks in live_spaces(transaction).items():
        refresh_vectors(transaction, pooling, space, blocks, now)
        mark_stale(transaction, space, later)


def reset_readers(secret: bytes, transaction: Connection, events: Sequence[Event]) -> None:
    """Removes what readers did until they began anew; later events of before stay void.

    Posts that they had turned down until then stay away, unless they wished controls away as well.
    """
    wishes = [event for event in events if isinstance(event, ReaderReset)]
    voided = erased_since(transaction, secret, [(wish.user_id, to_micros(wish.reset_at)) for wish in wishes])
    for wish, void in zip(wishes, voided, strict=True):
        if not void:
            _reset(transaction, wish.user_id, to_micros(wish.reset_at), controls=wish.controls)


def _reset(transaction: Connection, user_id: str, moment: int, *, controls: bool) -> None:
    by_log_alone = resets(transaction, [user_id]).get(user_id, LONG_AGO) < moment
    if by_log_alone and not controls:
        set_all(transaction, user_id, "hide", turned_down(transaction, user_id, moment), moment)
    put_reset(transaction, user_id, moment, controls=controls)
    trim_rows(transaction, user_id, moment)


def erase_readers(joining: AttributionSettings, transaction: Connection, events: Sequence[Event]) -> None:
    """Removes all that is known of readers up to their erasures, and keeps a keyed hash of each, so that a
    replay stays void."""
    for event in events:
        if isinstance(event, UserErased):
            _erase(joining, transaction, event.user_id, to_micros(event.erased_at))


def _erase(joining: AttributionSettings, transaction: Connection, user_id: str, moment: int) -> None:
    claim_readers(transaction, [user_id])
    raise_revisions(transaction, [user_id])
    latest = max(moment, erasures(transaction, joining.secret, {user_id}).get(user_id, moment))
    row = {"user_hash": hash_user(joining.secret, user_id), "erased_at": latest}
    upsert(transaction, erased_users, [row])
    trim_rows(transaction, user_id, moment)
    transaction.execute(delete(user_vectors).where(user_vectors.c.user_id == user_id))
    for table, time in (
        (memberships, memberships.c.joined_at),
        (reader_controls, reader_controls.c.set_at),
        (feed_pages, feed_pages.c.created_at),
    ):
        transaction.execute(delete(table).where(table.c.user_id == user_id, time <= moment))
    rename_author(transaction, user_id, None, moment)
    forget_reset(transaction, user_id, moment)
    forget_served(transaction, user_id, moment)
    forget_outcomes(joining, transaction, user_id, moment)
    forget_revisions(transaction, [user_id])
