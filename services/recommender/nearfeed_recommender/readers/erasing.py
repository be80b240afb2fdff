"""A reader's wish to be forgotten, as far as the API's own tables go; the consumer does the rest."""

import hashlib
import hmac
from typing import Literal

from sqlalchemy import Connection, delete, select

from nearfeed_contracts.events import UserErased
from nearfeed_contracts.fields import from_micros, now_micros
from nearfeed_contracts.tables import items, memberships, reader_controls
from nearfeed_recommender.catalogue import ItemDraft, delete_item, put_items
from nearfeed_recommender.experiments.units import forget_units
from nearfeed_recommender.outbox import put_outbox
from nearfeed_recommender.posts import posts_by_id
from nearfeed_recommender.readers.resetting import void_until
from nearfeed_runtime.sql import chunks

OwnPosts = Literal["delete", "anonymise"]


def erase_user(transaction: Connection, secret: bytes, user_id: str, own_posts: OwnPosts) -> None:
    """Removes memberships, controls and pages, deletes or anonymises own posts, and tells the log.

    What the reader did is void from now on; the consumer removes it.
    """
    moment = now_micros()
    void_until(transaction, user_id, moment)
    for table in (memberships, reader_controls):
        transaction.execute(delete(table).where(table.c.user_id == user_id))
    forget_units(transaction, user_id)
    own = list(
        transaction.scalars(
            select(items.c.item_id).where(items.c.author_id == user_id, items.c.deleted.is_(False))
        )
    )
    if own_posts == "delete":
        for item_id in own:
            delete_item(transaction, item_id)
    else:
        _anonymise(transaction, secret, user_id, own)
    put_outbox(transaction, [UserErased(user_id=user_id, erased_at=from_micros(moment))])


def _anonymise(transaction: Connection, secret: bytes, user_id: str, own: list[str]) -> None:
    pseudonym = "erased-" + hmac.new(secret, b"author " + user_id.encode(), hashlib.sha256).hexdigest()[:32]
    for chunk in chunks(own):
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
            for post in posts_by_id(transaction, chunk).values()
        ]
        put_items(transaction, drafts, create_communities=False)
