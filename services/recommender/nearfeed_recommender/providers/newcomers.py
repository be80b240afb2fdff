"""Posts of authors who have just begun, by how often they were shown; counted anew at intervals."""

from sqlalchemy import Connection, Engine, func, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import items, served_items
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.config.schema import NewcomersSource
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.popularity import CountedPost, first_allowed
from nearfeed_runtime.sql import reading

_KEPT = 5_000


class Newcomers:
    """The newest posts of authors with few posts; snapshots that `refresh` renews."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._counted: dict[tuple[float, int], list[CountedPost]] = {}

    def refresh(self) -> None:
        """Counts for every window and number of posts that was asked for."""
        for hours, posts in list(self._counted):
            self._count(hours, posts)

    def top(self, audience: Audience, source: NewcomersSource) -> list[str]:
        """Ids of those that the audience allows and that want to be shown, the least shown first."""
        key = (source.hours, source.posts)
        counted = self._counted[key] if key in self._counted else self._count(*key)
        wanting = (post for post in counted if post.count < source.exposures)
        return first_allowed(wanting, audience.filter(), source.limit)

    def _count(self, hours: float, posts: int) -> list[CountedPost]:
        with reading(self._engine) as connection:
            counted = _first_posts(connection, now_micros() - int(hours * HOUR_MICROS), posts)
        self._counted[hours, posts] = counted
        return counted


def _first_posts(connection: Connection, since: int, posts: int) -> list[CountedPost]:
    recent = select(items.c.author_id).where(items.c.published_at >= since, items.c.deleted.is_(False))
    beginners = (
        select(items.c.author_id)
        .where(items.c.author_id.in_(recent), items.c.deleted.is_(False))
        .group_by(items.c.author_id)
        .having(func.count() <= posts)
    )
    shown = (
        select(func.count())
        .where(served_items.c.item_id == items.c.item_id)
        .correlate(items)
        .scalar_subquery()
    )
    query = (
        select(items.c.item_id, items.c.community_id, items.c.author_id, items.c.published_at, shown)
        .where(items.c.published_at >= since, items.c.deleted.is_(False))
        .where(items.c.author_id.in_(beginners))
        .order_by(items.c.published_at.desc())
        .limit(_KEPT)
    )
    counted = [CountedPost(*row) for row in connection.execute(query)]
    return sorted(counted, key=lambda post: (post.count, -post.published_at, post.item_id))
