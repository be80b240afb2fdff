"""Which posts lack a vector of their current version, in which live spaces."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Engine, Row, and_, select

from nearfeed_contracts.events import Item
from nearfeed_contracts.fields import from_micros
from nearfeed_contracts.tables import active_space, item_contexts, items, spaces
from nearfeed_runtime.sql import chunks, read_connection

_PAGE = 256


def live_spaces(engine: Engine) -> dict[str, str]:
    """The run URL of each space whose run is loaded, which then waits for posts that the run lacks.

    The space that is served comes first.
    """
    query = (
        select(spaces.c.space, spaces.c.run_url)
        .outerjoin(active_space, active_space.c.space == spaces.c.space)
        .where(spaces.c.loaded_at.is_not(None))
        .order_by(active_space.c.space.is_(None), spaces.c.space)
    )
    with read_connection(engine) as connection:
        return {row.space: row.run_url for row in connection.execute(query)}


def stored_versions(engine: Engine, space: str, item_ids: Sequence[str]) -> dict[str, int]:
    """The versions, tombstones included, that a space holds of posts."""
    found: dict[str, int] = {}
    table = item_contexts.c
    with read_connection(engine) as connection:
        for chunk in chunks(item_ids):
            rows = select(table.item_id, table.version).where(table.space == space, table.item_id.in_(chunk))
            found.update({row.item_id: row.version for row in connection.execute(rows)})
    return found


def missing_posts(engine: Engine, space: str) -> Iterator[list[Item]]:
    """Undeleted posts of which the space holds no version as high as the current one, in pages."""
    after = ""
    while page := _page_of_missing(engine, space, after):
        yield [_item_of(row) for row in page]
        after = page[-1].item_id


def _page_of_missing(engine: Engine, space: str, after: str) -> Sequence[Row[Any]]:
    stored = item_contexts
    at_hand = and_(
        stored.c.space == space, stored.c.item_id == items.c.item_id, stored.c.version >= items.c.version
    )
    statement = (
        select(items)
        .outerjoin(stored, at_hand)
        .where(items.c.deleted.is_(False), items.c.item_id > after, stored.c.item_id.is_(None))
        .order_by(items.c.item_id)
        .limit(_PAGE)
    )
    with read_connection(engine) as connection:
        return connection.execute(statement).all()


def _item_of(row: Row[Any]) -> Item:
    return Item(
        item_id=row.item_id,
        version=row.version,
        community_id=row.community_id,
        author_id=row.author_id,
        title=row.title,
        body=row.body,
        tags=tuple(orjson.loads(row.tags)),
        language=row.language,
        url=row.url,
        published_at=from_micros(row.published_at),
    )
