"""The table items, for posts that arrive by log: what the API put there is never overwritten by older."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, select, update

from nearfeed_contracts.events import Event, Item, ItemDeleted
from nearfeed_contracts.fields import now_micros, to_micros
from nearfeed_contracts.tables import communities, items
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.sql import chunks, upsert

PostRow = Row[Any]


def store_posts(transaction: Connection, events: Sequence[Event]) -> None:
    """Writes posts of a higher version than their row's; an equal or lower one is there already."""
    newest: dict[str, Item] = {}
    for event in events:
        if isinstance(event, Item) and (
            event.item_id not in newest or event.version > newest[event.item_id].version
        ):
            newest[event.item_id] = event
    stored = posts_of(transaction, list(newest))
    fresh = [e for e in newest.values() if e.item_id not in stored or e.version > stored[e.item_id].version]
    named = {event.community_id for event in fresh}
    founded = [{"community_id": name, "created_at": now_micros()} for name in sorted(named)]
    upsert(transaction, communities, founded, keep=["created_at"])
    if fresh:
        change = next_change(transaction, items.name)
        upsert(transaction, items, [{**_row(event), "change_id": change} for event in fresh])


def mark_deleted(transaction: Connection, events: Sequence[Event]) -> None:
    """Marks posts as deleted unless their row is newer; without a version, whatever is there.

    An unknown post gets a row that holds its id and version alone, so that an older edit which
    arrives later does not bring it back.
    """
    versions = deletion_versions(transaction, events)
    stored = posts_of(transaction, list(versions))
    unknown = sorted(versions.keys() - stored.keys())
    due = [row.item_id for row in stored.values() if versions[row.item_id] >= _deleted_by(row)]
    if not unknown and not due:
        return
    change = next_change(transaction, items.name)
    rows = [{**_NOTHING, "item_id": each, "version": versions[each], "change_id": change} for each in unknown]
    upsert(transaction, items, rows)
    if due:
        transaction.execute(_DELETE, [{"post": each, "at": versions[each], "change": change} for each in due])


def deletion_versions(transaction: Connection, events: Iterable[Event]) -> dict[str, int]:
    """The version up to which each post is deleted; a deletion without one means the row's version."""
    deletions = [event for event in events if isinstance(event, ItemDeleted)]
    unnumbered = [event.item_id for event in deletions if event.version is None]
    stored = posts_of(transaction, unnumbered)
    versions: dict[str, int] = {}
    for event in deletions:
        row = stored.get(event.item_id)
        version = event.version or (row.version if row else 0)
        versions[event.item_id] = max(version, versions.get(event.item_id, 0))
    return {item_id: version for item_id, version in versions.items() if version}


def posts_of(transaction: Connection, item_ids: Sequence[str]) -> dict[str, PostRow]:
    """Posts as they stand, deleted ones too, without their text; held until the transaction ends."""
    table = items.c
    found: dict[str, PostRow] = {}
    for chunk in chunks(item_ids):
        query = select(
            table.item_id,
            table.version,
            table.deleted,
            table.community_id,
            table.author_id,
            table.published_at,
        )
        query = query.where(table.item_id.in_(chunk)).with_for_update()
        found.update({row.item_id: row for row in transaction.execute(query)})
    return found


def _deleted_by(row: PostRow) -> int:
    """The lowest version of a deletion that changes the row."""
    return int(row.version) + int(row.deleted)


_DELETE = (
    update(items)
    .where(items.c.item_id == bindparam("post"))
    .values(version=bindparam("at"), deleted=True, change_id=bindparam("change"))
)
_NOTHING = {
    "deleted": True,
    "community_id": "",
    "author_id": "",
    "title": "",
    "body": "",
    "tags": "[]",
    "language": None,
    "url": None,
    "published_at": 0,
}


def _row(event: Item) -> dict[str, Any]:
    row = event.model_dump(include=set(items.c.keys()))
    tags = orjson.dumps(event.tags).decode()
    return {**row, "tags": tags, "published_at": to_micros(event.published_at), "deleted": False}
