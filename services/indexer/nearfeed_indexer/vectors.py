"""Puts vectors into the store and their contexts into SQL, and buries those of deleted posts.

The store is written first and flushed within the transaction, so that a context in SQL says that its
vector is in the store; a crash in between leaves vectors that the replay of the same events mends.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection

from nearfeed_contracts.events import Event, ItemVector
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.vector_store import StoredVector, VectorStore
from nearfeed_indexer.catalogue import live_dimensions
from nearfeed_indexer.contexts import (
    CONTEXTS,
    Context,
    highest,
    stored_contexts,
    to_bytes,
    write_contexts,
)
from nearfeed_indexer.posts import deletion_versions, posts_of
from nearfeed_runtime.changes import lock_changes

STORED = Counter("nearfeed_vectors_stored_total", "Vectors put into a space.", ["space"])
DROPPED = Counter("nearfeed_vectors_dropped_total", "Vectors that have no effect.", ["reason"])


logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one version of a post puts into a space."""

    context: Context
    vector: StoredVector


def store_vectors(store: VectorStore, transaction: Connection, events: Sequence[Event]) -> None:
    """Stores vectors of live spaces, unless what is there is newer or their post is deleted."""
    lock_changes(transaction, CONTEXTS)
    fitting = list(_fitting(events, live_dimensions(transaction)))
    posts = posts_of(transaction, [event.item_id for event in fitting])
    deleted = {item_id: row.version for item_id, row in posts.items() if row.deleted}
    alive = [event for event in fitting if event.version > deleted.get(event.item_id, 0)]
    DROPPED.labels("deleted post").inc(len(fitting) - len(alive))
    for space, of_space in groupby(sorted(alive, key=_space_of), key=_space_of):
        put_entries(transaction, store, space, [_entry(event) for event in of_space], renew=True)


def bury_vectors(store: VectorStore, transaction: Connection, events: Sequence[Event]) -> None:
    """Takes deleted posts out of all live spaces and leaves tombstones, unless what is there is newer."""
    lock_changes(transaction, CONTEXTS)
    versions = deletion_versions(transaction, events)
    tombstones = [Context(item_id, version, None) for item_id, version in versions.items()]
    for space in live_dimensions(transaction):
        _bury(transaction, store, space, tombstones)


def put_entries(
    transaction: Connection, store: VectorStore, space: str, entries: Sequence[Entry], *, renew: bool
) -> int:
    """Puts those entries that outrank what the space holds; returns how many. Needs the lock of CONTEXTS.

    `renew` says whether an entry whose context is there already is written once more.
    """
    best = highest(entry.context for entry in entries)
    stored = stored_contexts(transaction, space, list(best))
    won = {item_id: context for item_id, context in best.items() if _wins(context, stored.get(item_id))}
    if not renew:
        won = {item_id: context for item_id, context in won.items() if context != stored.get(item_id)}
    vectors = {entry.context.item_id: entry.vector for entry in entries if _is_in(entry, won)}
    DROPPED.labels("older").inc(len(entries) - len(won))
    if won:
        store.upsert(space, list(vectors.values()))
        store.flush(space)
        write_contexts(transaction, space, list(won.values()))
        STORED.labels(space).inc(len(won))
    return len(won)


def _bury(transaction: Connection, store: VectorStore, space: str, tombstones: Sequence[Context]) -> None:
    stored = stored_contexts(transaction, space, [tombstone.item_id for tombstone in tombstones])
    won = [tombstone for tombstone in tombstones if _wins(tombstone, stored.get(tombstone.item_id))]
    if won:
        store.delete(space, [tombstone.item_id for tombstone in won])
        store.flush(space)
        write_contexts(transaction, space, won)


def _wins(context: Context, stored: Context | None) -> bool:
    return stored is None or context.rank >= stored.rank


def _is_in(entry: Entry, won: dict[str, Context]) -> bool:
    return won.get(entry.context.item_id) is entry.context


def _fitting(events: Iterable[Event], dimensions: dict[str, int]) -> Iterable[ItemVector]:
    """Vectors of live spaces that have their dimension; others are counted and passed over."""
    for event in events:
        if not isinstance(event, ItemVector):
            continue
        dim = dimensions.get(event.space)
        if dim is None:
            DROPPED.labels("unknown space").inc()
        elif any(len(v) != dim for v in (event.vector, event.context) if v is not None):
            DROPPED.labels("dimension").inc()
            logger.warning(
                "vector dropped: it does not have the dimension of its space",
                item_id=event.item_id,
                space=event.space,
                expected=dim,
                found=len(event.vector),
            )
        else:
            yield event


def _entry(event: ItemVector) -> Entry:
    context = event.vector if event.context is None else event.context
    return Entry(
        Context(event.item_id, event.version, to_bytes(context), event.inferred),
        StoredVector(
            item_id=event.item_id,
            community_id=event.community_id,
            author_id=event.author_id,
            published_at=to_micros(event.published_at),
            vector=event.vector,
        ),
    )


_space_of: Callable[[ItemVector], str] = lambda event: event.space  # noqa: E731
