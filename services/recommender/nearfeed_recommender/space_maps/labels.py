"""What is written beside a point of a map."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from nearfeed_contracts.tables import items
from nearfeed_runtime.sql import chunks


class Label(NamedTuple):
    """A post's title and community."""

    title: str
    community_id: str


def labels_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, Label]:
    """The labels of undeleted posts, without their texts."""
    found: dict[str, Label] = {}
    for chunk in chunks(ids):
        query = select(items.c.item_id, items.c.title, items.c.community_id)
        query = query.where(items.c.item_id.in_(chunk), items.c.deleted.is_(False))
        found.update({item_id: Label(*label) for item_id, *label in connection.execute(query)})
    return found
