"""Posts similar to a post: one search with its own vector."""

from sqlalchemy import Connection

from nearfeed_contracts.vector_store import Filter, Hit, VectorStore
from nearfeed_recommender.catalogue import UnknownItemError
from nearfeed_recommender.posts import Post, posts_by_id

_SPARE = 50


def similar_posts(
    connection: Connection, store: VectorStore, space: str | None, item_id: str, limit: int
) -> list[tuple[Post, Hit]]:
    """The `limit` undeleted posts closest to a post; [] for one that has no vector yet.

    Raises UnknownItemError and StoreUnavailableError.
    """
    if not posts_by_id(connection, [item_id]):
        raise UnknownItemError(f"There is no item {item_id!r}.")
    vector = store.fetch(space, [item_id]).get(item_id) if space else None
    if space is None or vector is None:
        return []
    hits = store.search(space, vector, limit + _SPARE, Filter(exclude_item_ids=frozenset({item_id})))
    posts = posts_by_id(connection, [hit.item_id for hit in hits])
    return [(posts[hit.item_id], hit) for hit in hits if hit.item_id in posts][:limit]
