"""Readers who were erased, known by a keyed hash of their id, so that nothing of before comes back."""

import hashlib
import hmac
from collections.abc import Sequence

from sqlalchemy import Connection, select

from nearfeed_contracts.tables import erased_users
from nearfeed_runtime.sql import chunks


def hash_user(secret: bytes, user_id: str) -> str:
    return hmac.new(secret, user_id.encode(), hashlib.sha256).hexdigest()


def erased_since(transaction: Connection, secret: bytes, moments: Sequence[tuple[str, int]]) -> list[bool]:
    """Of each user id with a time in microseconds whether the reader was erased then or later."""
    erased = erasures(transaction, secret, {user_id for user_id, _ in moments})
    return [user_id in erased and at <= erased[user_id] for user_id, at in moments]


def erasures(transaction: Connection, secret: bytes, user_ids: set[str]) -> dict[str, int]:
    """When those of `user_ids` that were erased were so, in microseconds."""
    by_hash = {hash_user(secret, user_id): user_id for user_id in user_ids}
    found: dict[str, int] = {}
    for chunk in chunks(sorted(by_hash)):
        rows = transaction.execute(select(erased_users).where(erased_users.c.user_hash.in_(chunk)))
        found.update({by_hash[row.user_hash]: row.erased_at for row in rows})
    return found
