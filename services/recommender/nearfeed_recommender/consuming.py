"""The consumer: events become rows, rows become user vectors."""

from collections.abc import Sequence
from functools import partial
from itertools import islice

from sqlalchemy import Connection, delete

from nearfeed_contracts.events import Event, Interaction, UserErased
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.tables import erased_users, interactions, user_vectors
from nearfeed_recommender.erasures import erased_since, hash_user
from nearfeed_recommender.ledger_locks import claim_readers
from nearfeed_recommender.outcomes import Joining, forget_outcomes
from nearfeed_recommender.reader_rows import merge_events
from nearfeed_recommender.served import forget_served
from nearfeed_recommender.user_vectors import Pooling, live_spaces, mark_stale, refresh_vectors
from nearfeed_runtime.consume import Handlers
from nearfeed_runtime.sql import upsert

GROUP = "recommender"
READERS_AT_ONCE = 50


def handlers(pooling: Pooling, joining: Joining) -> Handlers:
    """The flow from an event to what it changes."""
    return {
        Interaction: [partial(merge_rows, joining.secret), partial(refresh_readers, pooling)],
        UserErased: [partial(erase_readers, joining)],
    }


def merge_rows(secret: bytes, transaction: Connection, events: Sequence[Event]) -> None:
    """Merges interactions into rows, without those that an erasure made void."""
    actions = [event for event in events if isinstance(event, Interaction)]
    voided = erased_since(
        transaction, secret, [(event.user_id, to_micros(event.occurred_at)) for event in actions]
    )
    merge_events(transaction, [event for event, void in zip(actions, voided, strict=True) if not void])


def refresh_readers(pooling: Pooling, transaction: Connection, events: Sequence[Event]) -> None:
    """Recomputes the touched readers in every live space; of many, the rest is marked stale."""
    touched = iter({event.user_id: None for event in events if isinstance(event, Interaction)})
    now, later = list(islice(touched, READERS_AT_ONCE)), list(touched)
    for space, blocks in live_spaces(transaction).items():
        refresh_vectors(transaction, pooling, space, blocks, now)
        mark_stale(transaction, space, later)


def erase_readers(joining: Joining, transaction: Connection, events: Sequence[Event]) -> None:
    """Removes all that is known of readers, and keeps a keyed hash so that a replay stays void."""
    for event in events:
        if not isinstance(event, UserErased):
            continue
        claim_readers(transaction, [event.user_id])
        at = to_micros(event.erased_at)
        row = {"user_hash": hash_user(joining.secret, event.user_id), "erased_at": at}
        upsert(transaction, erased_users, [row])
        for table in (interactions, user_vectors):
            transaction.execute(delete(table).where(table.c.user_id == event.user_id))
        forget_served(transaction, event.user_id)
        forget_outcomes(joining, transaction, event.user_id, at)
