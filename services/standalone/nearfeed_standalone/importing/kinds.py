"""What can be imported: the columns of each kind, what is refused, and where the rest is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.fields import to_micros
from nearfeed_contracts.topics import record_of
from nearfeed_recommender.catalog.writes import (
    delete_items,
    known_communities,
    known_items,
    put_communities,
    put_items,
)
from nearfeed_recommender.identity.erasures import erased_since
from nearfeed_recommender.users.memberships import put_memberships
from nearfeed_standalone.importing.bulk import BULK_KINDS
from nearfeed_standalone.importing.rows import DeletionRow, InteractionRow, ItemRow, MembershipRow

Faults = list[str | None]


@dataclass(frozen=True)
class ImportKind:
    """`faults_of` says of each row why it is refused, or None; `store` writes the other rows. The hashes of
    erased readers are keyed by the secret that `faults_of` is given.

    Both run in the transaction that notes the rows as done, which may be tried again. What `store` puts
    on the log may come there twice; interactions bear that.
    """

    model: type[BaseModel]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    faults_of: Callable[[Connection, bytes, Sequence[Any]], Faults]
    store: Callable[[Connection, EventLog, Sequence[Any]], None]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.required + self.optional


def _no_faults(_transaction: Connection, _secret: bytes, rows: Sequence[Any]) -> Faults:
    return [None] * len(rows)


def _unknown_items(transaction: Connection, _secret: bytes, rows: Sequence[InteractionRow]) -> Faults:
    known = known_items(transaction, {row.item_id for row in rows})
    return [
        None if row.item_id in known else f"item_id: there is no item {row.item_id!r}; import items first"
        for row in rows
    ]


def _never_there(transaction: Connection, _secret: bytes, rows: Sequence[DeletionRow]) -> Faults:
    known = known_items(transaction, {row.item_id for row in rows}, deleted=True)
    return [
        None if row.item_id in known else f"item_id: there was never an item {row.item_id!r}" for row in rows
    ]


def _unknown_communities(transaction: Connection, secret: bytes, rows: Sequence[MembershipRow]) -> Faults:
    known = known_communities(transaction, {row.community_id for row in rows})
    unknown = [
        None
        if row.community_id in known
        else f"community_id: there is no community {row.community_id!r}; import its items first"
        for row in rows
    ]
    erased = _erased_since(transaction, secret, rows)
    return [fault or void for fault, void in zip(unknown, erased, strict=True)]


def _erased_since(transaction: Connection, secret: bytes, rows: Sequence[MembershipRow]) -> Faults:
    voided = erased_since(transaction, secret, [(row.user_id, to_micros(row.joined_at)) for row in rows])
    return ["user_id: the reader was erased after they joined" if void else None for void in voided]


def _store_items(transaction: Connection, _log: EventLog, rows: Sequence[ItemRow]) -> None:
    put_items(transaction, rows, create_communities=True)


def _store_deletions(transaction: Connection, _log: EventLog, rows: Sequence[DeletionRow]) -> None:
    delete_items(transaction, sorted(known_items(transaction, {row.item_id for row in rows})))


def _store_interactions(_transaction: Connection, log: EventLog, rows: Sequence[InteractionRow]) -> None:
    log.append([record_of(row) for row in rows])


def _store_memberships(transaction: Connection, _log: EventLog, rows: Sequence[MembershipRow]) -> None:
    put_memberships(transaction, [(row.user_id, row.community_id, to_micros(row.joined_at)) for row in rows])


def _found_and_store_memberships(
    transaction: Connection, log: EventLog, rows: Sequence[MembershipRow]
) -> None:
    put_communities(transaction, {row.community_id for row in rows})
    _store_memberships(transaction, log, rows)


KINDS = {
    "items": ImportKind(
        ItemRow,
        ("item_id", "community_id", "author_id", "title", "published_at"),
        ("body", "tags", "language", "url"),
        _no_faults,
        _store_items,
    ),
    "deletions": ImportKind(DeletionRow, ("item_id",), (), _never_there, _store_deletions),
    "interactions": ImportKind(
        InteractionRow,
        ("user_id", "item_id", "kind", "occurred_at"),
        ("value",),
        _unknown_items,
        _store_interactions,
    ),
    "memberships": ImportKind(
        MembershipRow,
        ("user_id", "community_id"),
        ("joined_at",),
        _unknown_communities,
        _store_memberships,
    ),
}

# A database vouches for the communities it names, also for those without a post, and may tell of posts that
# were gone before they were imported.
DATABASE_KINDS = KINDS | {
    "deletions": replace(KINDS["deletions"], faults_of=_no_faults),
    "memberships": replace(KINDS["memberships"], faults_of=_erased_since, store=_found_and_store_memberships),
}


def kind_of(name: str) -> ImportKind:
    """Raises NotFoundError."""
    if name not in KINDS:
        names = ", ".join([*KINDS, *BULK_KINDS])
        raise NotFoundError(f"{name!r} cannot be imported; choose one of {names}.")
    return KINDS[name]
