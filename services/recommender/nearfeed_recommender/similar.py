"""Posts similar to a post: one search with its own vector."""

from functools import partial

from sqlalchemy import Connection

from nearfeed_contracts.vector_store import Filter, Hit, VectorStore
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.catalogue import UnknownItemError
from nearfeed_recommender.posts import Post, posts_by_id

_SPARE = 50


def similar_posts(
    connection: Connection,
    store: VectorStore,
    breaker: StoreBreaker,
    space: str | None,
    item_id: str,
    limit: int,
) -> list[tuple[Post, Hit]]:
    """The `limit` undeleted posts closest to a post; [] for one that has no vector yet.

    Raises UnknownItemError and StoreUnavailableError.
    """
    if not posts_by_id(connection, [item_id]):
        raise UnknownItemError(f"There is no item {item_id!r}.")
    if space is None:
        return []
    hits = breaker.ask(partial(_nearest, store, space, item_id, limit + _SPARE))
    posts = posts_by_id(connection, [hit.item_id for hit in hits])
    return [(posts[hit.item_id], hit) for hit in hits if hit.item_id in posts][:limit]


def _nearest(store: VectorStore, space: str, item_id: str, count: int) -> list[Hit]:
    vector = store.fetch(space, [item_id]).get(item_id)
    if vector is None:
        return []
    return store.search(space, vector, count, Filter(exclude_item_ids=frozenset({item_id})))
