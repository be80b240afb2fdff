"""A reader's wish to be forgotten, as far as the API's own tables go; the consumer does the rest."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, delete, select

from nearfeed_contracts.events import Control, ReaderControlChanged, UserErased
from nearfeed_contracts.fields import from_micros, now_micros
from nearfeed_contracts.tables import items, memberships, reader_controls
from nearfeed_recommender.catalog.posts import posts_by_id
from nearfeed_recommender.catalog.writes import ItemDraft, delete_items, put_items
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings, settle_reader
from nearfeed_recommender.identity.links import forget_units, kin_of
from nearfeed_recommender.infra.outbox import put_outbox
from nearfeed_recommender.users.reset import void_until
from nearfeed_runtime.changes import raise_revisions
from nearfeed_runtime.sql import chunks, upsert

ON_AUTHORS: tuple[Control, ...] = ("block", "mute", "follow")
OwnPosts = Literal["delete", "anonymise"]


def erase_user(
    transaction: Connection, joining: AttributionSettings, user_id: str, own_posts: OwnPosts
) -> None:
    """Removes memberships, controls and pages, deletes or anonymises own posts, and tells the log.

    What other readers have set on the author goes, or is of the pseudonym from then on. What the reader did
    is void from now on; the consumer removes it.
    """
    moment = now_micros()
    void_until(transaction, user_id, moment, controls=True)
    for table in (memberships, reader_controls):
        transaction.execute(delete(table).where(table.c.user_id == user_id))
    kin = kin_of(transaction, [user_id]).get(user_id, set())
    forget_units(transaction, user_id)
    for other in sorted(kin - {user_id}):
        settle_reader(joining, transaction, other)
    own = list(
        transaction.scalars(
            select(items.c.item_id).where(items.c.author_id == user_id, items.c.deleted.is_(False))
        )
    )
    if own_posts == "delete":
        delete_items(transaction, own)
        rename_author(transaction, user_id, None, moment)
    else:
        pseudonym = _pseudonym(joining.secret, user_id)
        _anonymise(transaction, pseudonym, own)
        rename_author(transaction, user_id, pseudonym, moment)
    put_outbox(transaction, [UserErased(user_id=user_id, erased_at=from_micros(moment))])


def of_author(author_id: str) -> ColumnElement[bool]:
    """Controls that readers have set on an author. A tag of the same name that is muted is among them."""
    return (reader_controls.c.target == author_id) & reader_controls.c.control.in_(ON_AUTHORS)


def rename_author(transaction: Connection, author_id: str, pseudonym: str | None, until: int) -> None:
    """What readers have set on an author until a time in microseconds is of the pseudonym, or goes."""
    theirs = of_author(author_id) & (reader_controls.c.set_at <= until)
    query = select(reader_controls).where(theirs)
    found = [dict(row) for row in transaction.execute(query.with_for_update()).mappings()]
    raise_revisions(transaction, {row["user_id"] for row in found})
    transaction.execute(delete(reader_controls).where(theirs))
    put_outbox(transaction, [_changed(row, active=False) for row in found])
    if pseudonym is not None:
        renamed = [{**row, "target": pseudonym} for row in found]
        upsert(transaction, reader_controls, renamed)
        put_outbox(transaction, [_changed(row, active=True) for row in renamed])


def _changed(row: Mapping[str, Any], *, active: bool) -> ReaderControlChanged:
    of = {name: row[name] for name in ("user_id", "control", "target")}
    return ReaderControlChanged(**of, active=active, changed_at=from_micros(now_micros()))


def _pseudonym(secret: bytes, user_id: str) -> str:
    return "erased-" + hmac.new(secret, b"author " + user_id.encode(), hashlib.sha256).hexdigest()[:32]


def _anonymise(transaction: Connection, pseudonym: str, own: list[str]) -> None:
    drafts = [
        ItemDraft(
            item_id=post.id,
            community_id=post.community_id,
            author_id=pseudonym,
            title=post.title,
            body=post.body,
            tags=post.tags,
            language=post.language,
            url=post.url,
            published_at=post.published_at,
        )
        for chunk in chunks(own)
        for post in posts_by_id(transaction, chunk).values()
    ]
    put_items(transaction, drafts, create_communities=False)
