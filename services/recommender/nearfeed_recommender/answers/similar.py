"""Posts similar to a post: one search with its own vector, for everybody or for one reader."""

from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from nearfeed_contracts.vector_store import Filter, Hit, VectorStore
from nearfeed_recommender.catalogue import UnknownItemError
from nearfeed_recommender.config.schema import NamedFilter
from nearfeed_recommender.posts import Audience, Post, audience_of, posts_by_id
from nearfeed_recommender.providers.less import close_ones
from nearfeed_recommender.providers.serving import Serving

_SPARE = 50
_HOLDING: tuple[NamedFilter, ...] = ("membership", "own")


def similar_posts(
    serving: Serving,
    connection: Connection,
    space: str | None,
    item_id: str,
    limit: int,
    user_id: str | None = None,
) -> list[tuple[Post, Hit]]:
    """The `limit` undeleted posts closest to a post; [] for one that has no vector yet.

    For a reader, those alone that they may see and have not turned down; what they have read is among them.
    Raises UnknownItemError and StoreUnavailableError.
    """
    if not posts_by_id(connection, [item_id]):
        raise UnknownItemError(f"There is no item {item_id!r}.")
    if space is None:
        return []
    audience = None
    if user_id is not None:
        audience = audience_of(connection, user_id, frozenset(), None).relaxed(_HOLDING)
    where = audience.filter() if audience else Filter()
    hits = serving.breaker.ask(partial(_nearest, serving.store, space, item_id, limit + _SPARE, where))
    posts = posts_by_id(connection, [hit.item_id for hit in hits])
    if audience:
        posts = _allowed(serving, audience, space, posts)
    return [(posts[hit.item_id], hit) for hit in hits if hit.item_id in posts][:limit]


def _allowed(serving: Serving, audience: Audience, space: str, posts: dict[str, Post]) -> dict[str, Post]:
    near = audience.without(close_ones(serving, audience.controls.less, space, list(posts)))
    return {item: post for item, post in posts.items() if near.allows(item, post.facts)}


def _nearest(store: VectorStore, space: str, item_id: str, count: int, where: Filter) -> list[Hit]:
    vector = store.fetch(space, [item_id]).get(item_id)
    if vector is None:
        return []
    others = replace(where, exclude_item_ids=where.exclude_item_ids | {item_id})
    return store.search(space, vector, count, others)
