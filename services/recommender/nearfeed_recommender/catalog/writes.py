"""Posts and communities as the API and the importer write them: one transaction with the outbox."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row, bindparam, select, update

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.events import Item, ItemDeleted
from nearfeed_contracts.fields import (
    MAX_TAGS,
    Body,
    Id,
    Language,
    Tag,
    Title,
    Url,
    UtcTime,
    from_micros,
    now_micros,
    to_micros,
    version_at,
)
from nearfeed_contracts.tables import communities, items
from nearfeed_recommender.infra.outbox import put_outbox
from nearfeed_runtime.changes import next_change
from nearfeed_runtime.sql import chunks, claim, upsert

_UNMADE = 0


class UnknownCommunityError(NotFoundError):
    """A post or membership that names a community which was never made."""


class UnknownItemError(NotFoundError):
    """An item id that nobody knows, or whose post was deleted."""


class ItemContent(BaseModel):
    """A post as its app states it, but for its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    community_id: Id
    author_id: Id
    title: Title
    body: Body = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS)] = ()
    language: Language | None = None
    url: Url | None = None
    published_at: UtcTime | None = None


class ItemDraft(ItemContent):
    """A post as its app states it; Nearfeed adds the version."""

    item_id: Id


def put_items(
    transaction: Connection, drafts: Sequence[ItemDraft], *, create_communities: bool
) -> list[Item]:
    """Stores posts and tells the log of them; returns those that changed, with their versions.

    A post that stands already with the same content is left alone. Without a `published_at` a post
    keeps its own, or is published now. Raises UnknownCommunityError.
    """
    if create_communities:
        put_communities(transaction, {draft.community_id for draft in drafts})
    else:
        _require_communities(transaction, {draft.community_id for draft in drafts})
    latest = {draft.item_id: draft for draft in drafts}
    claim(transaction, items, [_unmade_row(item_id) for item_id in latest])
    before = _rows_by_id(transaction, list(latest))
    changed = [item for draft in latest.values() if (item := _next_version(draft, before.get(draft.item_id)))]
    if changed:
        change = next_change(transaction, items.name)
        upsert(transaction, items, [{**_row_of(item), "change_id": change} for item in changed])
    put_outbox(transaction, changed)
    return changed


def delete_items(transaction: Connection, item_ids: Sequence[str]) -> None:
    """Takes posts down from this transaction on, and blanks their text; a second time is no error.

    Raises UnknownItemError where there never was one.
    """
    rows = _rows_by_id(transaction, sorted(set(item_ids)))
    unknown = sorted(set(item_ids) - rows.keys())
    if unknown:
        raise UnknownItemError(f"There is no item {unknown[0]!r}.")
    versions = {item_id: _version_after(row) for item_id, row in rows.items() if not row.deleted}
    if not versions:
        return
    change = next_change(transaction, items.name)
    due = [{"post": item_id, "at": version, "change": change} for item_id, version in versions.items()]
    transaction.execute(_TAKE_DOWN, due)
    put_outbox(transaction, [ItemDeleted(item_id=each, version=at) for each, at in versions.items()])


_TAKE_DOWN = (
    update(items)
    .where(items.c.item_id == bindparam("post"))
    .values(
        version=bindparam("at"),
        deleted=True,
        author_id="",
        title="",
        body="",
        tags="[]",
        language=None,
        url=None,
        change_id=bindparam("change"),
    )
)


def put_communities(transaction: Connection, ids: Iterable[str]) -> None:
    """Makes the communities that are not there yet."""
    now = now_micros()
    rows = [{"community_id": name, "created_at": now} for name in sorted(ids)]
    upsert(transaction, communities, rows, keep=["created_at"])


def known_communities(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Those of `ids` that name a community."""
    found: set[str] = set()
    for chunk in chunks(sorted(set(ids))):
        query = select(communities.c.community_id).where(communities.c.community_id.in_(chunk))
        found.update(connection.scalars(query))
    return found


def known_items(connection: Connection, ids: Iterable[str], *, deleted: bool = False) -> set[str]:
    """Those of `ids` that name a post; `deleted` counts those that were taken down, too."""
    found: set[str] = set()
    for chunk in chunks(sorted(set(ids))):
        query = select(items.c.item_id).where(items.c.item_id.in_(chunk))
        if not deleted:
            query = query.where(items.c.deleted.is_(False))
        found.update(connection.scalars(query))
    return found


def _require_communities(transaction: Connection, ids: set[str]) -> None:
    unknown = sorted(ids - known_communities(transaction, ids))
    if unknown:
        raise UnknownCommunityError(
            f"There is no community {unknown[0]!r}; make it with PUT /v1/communities/{unknown[0]}."
        )


def _rows_by_id(transaction: Connection, ids: Sequence[str]) -> dict[str, Row[Any]]:
    found: dict[str, Row[Any]] = {}
    for chunk in chunks(ids):
        rows = transaction.execute(select(items).where(items.c.item_id.in_(chunk)).with_for_update())
        found.update({row.item_id: row for row in rows if row.version != _UNMADE})
    return found


def _next_version(draft: ItemDraft, before: Row[Any] | None) -> Item | None:
    version = _version_after(before)
    published_at = draft.published_at or (from_micros(before.published_at) if before else datetime.now(UTC))
    item = Item(**draft.model_dump(exclude={"published_at"}), published_at=published_at, version=version)
    if before and not before.deleted and _states(before, item):
        return None
    return item


def _states(before: Row[Any], item: Item) -> bool:
    """Whether the row has the content of the item."""
    content = {**_row_of(item), "version": before.version}
    return all(before._mapping[name] == value for name, value in content.items())


def _version_after(before: Row[Any] | None) -> int:
    """Of now, by the clock that messages of an app's own topics are numbered by, and higher than before."""
    return max(version_at(now_micros()), before.version + 1 if before else 0)


def _unmade_row(item_id: str) -> dict[str, Any]:
    """Holds the place of a post that is being made, so that two who make it wait for each other."""
    return {
        "item_id": item_id,
        "version": _UNMADE,
        "deleted": True,
        "community_id": "",
        "author_id": "",
        "title": "",
        "body": "",
        "tags": "[]",
        "published_at": 0,
    }


def _row_of(item: Item) -> dict[str, Any]:
    return {
        "item_id": item.item_id,
        "version": item.version,
        "deleted": False,
        "community_id": item.community_id,
        "author_id": item.author_id,
        "title": item.title,
        "body": item.body,
        "tags": orjson.dumps(item.tags).decode(),
        "language": item.language,
        "url": item.url,
        "published_at": to_micros(item.published_at),
    }
