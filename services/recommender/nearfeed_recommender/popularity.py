"""What is popular now: posts by the number of readers in a window, counted anew at intervals."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import interactions, items
from nearfeed_core.readings import DAY_MICROS
from nearfeed_recommender.posts import Audience
from nearfeed_runtime.sql import reading

_KEPT = 20_000


@dataclass(frozen=True)
class CountedPost:
    """A post with the number of its readers in the window."""

    item_id: str
    community_id: str
    author_id: str
    published_at: int
    readers: int


class Popularity:
    """The posts with the most readers within `days`, best first; a snapshot that `refresh` renews."""

    def __init__(self, engine: Engine, days: float) -> None:
        self._engine = engine
        self._window = int(days * DAY_MICROS)
        self._counted: list[CountedPost] | None = None

    def refresh(self) -> None:
        with reading(self._engine) as connection:
            self._counted = _count_readers(connection, now_micros() - self._window)

    def top(self, audience: Audience, limit: int) -> list[str]:
        """Ids of the most read posts that the audience allows, as far as the snapshot knows."""
        if self._counted is None:
            self.refresh()
        where = audience.filter()
        found: list[str] = []
        for post in self._counted or ():
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


def _count_readers(connection: Connection, since: int) -> list[CountedPost]:
    readers = func.count().label("readers")
    counted = (
        select(interactions.c.item_id, readers)
        .where(interactions.c.newest_at >= since)
        .group_by(interactions.c.item_id)
        .subquery()
    )
    query = (
        select(
            items.c.item_id, items.c.community_id, items.c.author_id, items.c.published_at, counted.c.readers
        )
        .join(counted, counted.c.item_id == items.c.item_id)
        .where(items.c.deleted.is_(False))
        .order_by(counted.c.readers.desc(), items.c.item_id)
        .limit(_KEPT)
    )
    return [CountedPost(*row) for row in connection.execute(query)]
