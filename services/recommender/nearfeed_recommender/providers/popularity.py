"""What is popular now: posts by the number of readers in a window.

Posts that have been read are counted anew every few seconds, all posts every few minutes: readings that
have left the window or were taken back, and posts that were deleted, are known then.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, or_, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import interactions, items
from nearfeed_contracts.vector_store import Filter
from nearfeed_core.readings import DAY_MICROS
from nearfeed_recommender.posts import Audience
from nearfeed_runtime.sql import chunks, reading

_KEPT = 20_000
_KEPT_OF_A_COMMUNITY = 200
_WHOLE_SECONDS = 300.0
_OVERLAP_MICROS = 30_000_000  # readings come to SQL a little late
_MOST_CHANGED = 5_000
DEFAULT_DAYS = 30.0


@dataclass(frozen=True)
class CountedPost:
    """A post with a count: of its readers in a window, or of how often it was shown."""

    item_id: str
    community_id: str
    author_id: str
    published_at: int
    count: int


class Popularity:
    """The posts with the most readers in windows of days, best first; snapshots that `refresh` renews."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._counted: dict[float, list[CountedPost]] = {}
        self._readers: dict[str, int] = {}
        self._counted_at: dict[float, float] = {}  # monotonic, in seconds
        self._seen_until = 0  # microseconds since 1970

    def refresh(self) -> None:
        """Counts every window that was asked for."""
        for days in {DEFAULT_DAYS, *self._counted}:
            self._count(days)

    def follow(self) -> None:
        """Counts what has been read since the last call, and windows that are due as a whole."""
        now = now_micros()
        with reading(self._engine) as connection:
            changed = _read_since(connection, self._seen_until - _OVERLAP_MICROS)
        for days in {DEFAULT_DAYS, *self._counted}:
            age = time.monotonic() - self._counted_at.get(days, -math.inf)
            if age >= _WHOLE_SECONDS or len(changed) > _MOST_CHANGED:
                self._count(days)
            else:
                self._count_again(days, changed)
        self._seen_until = now

    def top(self, audience: Audience, limit: int, days: float = DEFAULT_DAYS) -> list[str]:
        """Ids of the most read posts that the audience allows, as far as the snapshot knows."""
        return first_allowed(self._window(days), audience.filter(), limit)

    def readers_of(self, item_id: str) -> int:
        """The readers of a post within 30 days, 0 for one that is not among the most read."""
        self._window(DEFAULT_DAYS)
        return self._readers.get(item_id, 0)

    def _window(self, days: float) -> list[CountedPost]:
        return self._counted[days] if days in self._counted else self._count(days)

    def _count(self, days: float) -> list[CountedPost]:
        self._counted_at[days] = time.monotonic()
        with reading(self._engine) as connection:
            return self._keep(days, _count_readers(connection, _start_of(days)))

    def _count_again(self, days: float, item_ids: Sequence[str]) -> None:
        posts = {post.item_id: post for post in self._counted[days]}
        with reading(self._engine) as connection:
            for some in chunks(item_ids):
                posts |= {post.item_id: post for post in _count_readers(connection, _start_of(days), some)}
        self._keep(days, sorted(posts.values(), key=lambda post: (-post.count, post.item_id)))

    def _keep(self, days: float, counted: list[CountedPost]) -> list[CountedPost]:
        self._counted[days] = counted
        if days == DEFAULT_DAYS:
            self._readers = {post.item_id: post.count for post in counted}
        return counted


def first_allowed(posts: Iterable[CountedPost], where: Filter, limit: int) -> list[str]:
    """Ids of the first `limit` posts that the filter lets pass."""
    found: list[str] = []
    for post in posts:
        if len(found) == limit:
            break
        if (
            (where.community_ids is None or post.community_id in where.community_ids)
            and (where.published_after is None or post.published_at >= where.published_after)
            and post.item_id not in where.exclude_item_ids
            and post.author_id not in where.exclude_author_ids
        ):
            found.append(post.item_id)
    return found


def _start_of(days: float) -> int:
    return now_micros() - int(days * DAY_MICROS)


def _read_since(connection: Connection, since: int) -> Sequence[str]:
    query = select(interactions.c.item_id).where(interactions.c.newest_at >= since).distinct()
    return connection.scalars(query.limit(_MOST_CHANGED + 1)).all()


def _count_readers(
    connection: Connection, since: int, item_ids: Sequence[str] | None = None
) -> list[CountedPost]:
    """Of all posts, or of some, those that are kept, best first."""
    readers = func.count().label("readers")
    own = [] if item_ids is None else [interactions.c.item_id.in_(item_ids)]
    counted = (
        select(interactions.c.item_id, readers)
        .where(interactions.c.newest_at >= since, *own)
        .group_by(interactions.c.item_id)
        .subquery()
    )
    order = (counted.c.readers.desc(), items.c.item_id)
    ranked = (
        select(
            items.c.item_id,
            items.c.community_id,
            items.c.author_id,
            items.c.published_at,
            counted.c.readers,
            func.row_number().over(order_by=order).label("place"),
            func.row_number().over(partition_by=items.c.community_id, order_by=order).label("own_place"),
        )
        .join(counted, counted.c.item_id == items.c.item_id)
        .where(items.c.deleted.is_(False))
        .subquery()
    )
    query = (
        select(
            *(ranked.c[name] for name in ("item_id", "community_id", "author_id", "published_at", "readers"))
        )
        .where(or_(ranked.c.place <= _KEPT, ranked.c.own_place <= _KEPT_OF_A_COMMUNITY))
        .order_by(ranked.c.place)
    )
    return [CountedPost(*row) for row in connection.execute(query)]
