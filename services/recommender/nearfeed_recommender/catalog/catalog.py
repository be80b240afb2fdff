"""The columns of all live posts, kept equal to SQL.

Every transaction that writes posts gives them a number of the change sequence `items`, in the order of
commits. A request reads the last number together with all else that tells whether memory is fresh
(`nearfeed_recommender.users.states`); where it is above that of the columns, `follow` reads what
has changed.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.tables import change_sequence, items
from nearfeed_recommender.catalog.columns import Columns, PostFacts
from nearfeed_runtime.point_reads import read_rows
from nearfeed_runtime.sql import read_connection

ITEMS = "items"
"""The name of the sequence that numbers changes of posts."""
_BATCH = 10_000
_FACTS = tuple(
    items.c[name]
    for name in (
        "item_id",
        "version",
        "community_id",
        "author_id",
        "tags",
        "language",
        "published_at",
        "deleted",
        "change_id",
    )
)


class Catalog:
    """`columns` of all live posts as of `change_id`. Any thread may read, and any may call `follow`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.columns = Columns()
        self.change_id = -1
        self._following = threading.Lock()

    def follow(self) -> None:
        """Reads what has changed since, at first all posts; where nothing has, one look-up by key."""
        if self.change_id >= 0 and self._last_change() <= self.change_id:
            return
        with self._following, read_connection(self._engine) as connection:
            last = last_change(connection)
            if last <= self.change_id:
                return
            changed = (
                items.c.change_id > self.change_id if self.change_id >= 0 else items.c.deleted.is_(False)
            )
            order = (items.c.change_id, items.c.published_at, items.c.item_id)
            self._take(connection, select(*_FACTS).where(changed).order_by(*order))
            self.change_id = last

    def _last_change(self) -> int:
        found = read_rows(self._engine, "SELECT value FROM change_sequence WHERE name = ?", [ITEMS])
        return int(found[0][0]) if found else 0

    def _take(self, connection: Connection, query: Any) -> None:
        for batch in connection.execution_options(yield_per=_BATCH).execute(query).partitions():
            self.columns.put(list(_facts(batch)))


def last_change(connection: Connection) -> int:
    """The number of the last committed change of posts; 0 before the first."""
    return connection.scalar(select(change_sequence.c.value).where(change_sequence.c.name == ITEMS)) or 0


def _facts(rows: Any) -> Iterator[PostFacts]:
    tags: dict[str, tuple[str, ...]] = {}
    for row in rows:
        yield _facts_of(row, tags)


def _facts_of(row: Sequence[Any], tags: dict[str, tuple[str, ...]]) -> PostFacts:
    """`tags` has what was parsed before: most posts share their tags with others."""
    item_id, version, community_id, author_id, written, language, published_at, deleted, _ = row
    if deleted:
        return PostFacts(item_id, version)
    if written not in tags:
        tags[written] = tuple(orjson.loads(written))
    return PostFacts(item_id, version, community_id, author_id, tags[written], language, published_at)
