"""Posts as the feed shows them, read from SQL, and the last check of what a reader may see (rule: nobody
sees what they may not, even where the index lags)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection, Select, select

from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import interactions, items
from nearfeed_contracts.vector_store import Filter
from nearfeed_recommender.memberships import Controls, communities_of, controls_of
from nearfeed_recommender.reader_rows import reading_of
from nearfeed_runtime.sql import chunks


@dataclass(frozen=True)
class Post:
    """A post's metadata."""

    id: str
    community_id: str
    author_id: str
    title: str
    body: str
    tags: tuple[str, ...]
    language: str | None
    url: str | None
    published_at: datetime


@dataclass(frozen=True)
class Audience:
    """What one reader may and wants to see now. `communities` None: all of them.

    `excluded` are those of the `seen` posts that they have hidden, reported or rated low.
    """

    user_id: str
    communities: frozenset[str] | None
    published_after: int | None
    seen: frozenset[str]
    controls: Controls
    excluded: frozenset[str] = frozenset()

    def filter(self) -> Filter:
        """The part of it that a search can apply."""
        return Filter(
            community_ids=self.communities,
            published_after=self.published_after,
            exclude_item_ids=self.seen | self.controls.items,
            exclude_author_ids=self.controls.authors | {self.user_id},
        )

    def allows(self, post: Post, published_at: int) -> bool:
        return (
            (self.communities is None or post.community_id in self.communities)
            and (self.published_after is None or published_at >= self.published_after)
            and post.id not in self.seen
            and post.id not in self.controls.items
            and post.author_id != self.user_id
            and post.author_id not in self.controls.authors
            and self.controls.tags.isdisjoint(post.tags)
        )


def audience_of(
    connection: Connection, user_id: str, wanted: frozenset[str], published_after: int | None
) -> Audience:
    """Reads memberships, controls and seen posts. `wanted` narrows the communities; empty: no wish.

    A reader who has joined no community may see all.
    """
    joined = communities_of(connection, user_id)
    if joined and wanted:
        communities: frozenset[str] | None = joined & wanted
    else:
        communities = joined or wanted or None
    seen, excluded = _seen_and_excluded(connection, user_id)
    return Audience(user_id, communities, published_after, seen, controls_of(connection, user_id), excluded)


def visible_posts(connection: Connection, audience: Audience, ids: Sequence[str]) -> dict[str, Post]:
    """Those of the posts that stand in SQL and that the reader may see."""
    found: dict[str, Post] = {}
    for chunk in chunks(ids):
        query = select(items).where(items.c.item_id.in_(chunk), items.c.deleted.is_(False))
        for post, published_at in _posts(connection, query):
            if audience.allows(post, published_at):
                found[post.id] = post
    return found


def posts_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Post]:
    """Undeleted posts by id."""
    found: dict[str, Post] = {}
    for chunk in chunks(list(ids)):
        query = select(items).where(items.c.item_id.in_(chunk), items.c.deleted.is_(False))
        found.update({post.id: post for post, _ in _posts(connection, query)})
    return found


def latest_posts(connection: Connection, audience: Audience, limit: int) -> list[str]:
    """Ids of the newest posts that the audience allows, newest first."""
    where = audience.filter()
    query = select(items).where(items.c.deleted.is_(False))
    if where.community_ids is not None:
        query = query.where(items.c.community_id.in_(where.community_ids))
    if where.published_after is not None:
        query = query.where(items.c.published_at >= where.published_after)
    query = query.where(items.c.author_id.not_in(where.exclude_author_ids))
    query = query.order_by(items.c.published_at.desc(), items.c.item_id).limit(limit + len(audience.seen))
    return [post.id for post, at in _posts(connection, query) if audience.allows(post, at)][:limit]


def has_posts_since(connection: Connection, audience: Audience, since: int) -> bool:
    """Whether the audience's communities have a post that was published at `since` or later."""
    query = select(items.c.item_id).where(items.c.deleted.is_(False), items.c.published_at >= since)
    if audience.communities is not None:
        query = query.where(items.c.community_id.in_(audience.communities))
    return connection.scalar(query.limit(1)) is not None


def _posts(connection: Connection, query: Select) -> Iterable[tuple[Post, int]]:  # type: ignore[type-arg]
    for row in connection.execute(query):
        post = Post(
            id=row.item_id,
            community_id=row.community_id,
            author_id=row.author_id,
            title=row.title,
            body=row.body,
            tags=tuple(orjson.loads(row.tags)),
            language=row.language,
            url=row.url,
            published_at=from_micros(row.published_at),
        )
        yield post, row.published_at


def _seen_and_excluded(connection: Connection, user_id: str) -> tuple[frozenset[str], frozenset[str]]:
    rows = connection.execute(select(interactions).where(interactions.c.user_id == user_id)).mappings()
    readings = {row["item_id"]: reading_of(row) for row in rows}
    seen = frozenset(item for item, reading in readings.items() if reading.is_seen())
    return seen, frozenset(item for item, reading in readings.items() if reading.is_excluded())
