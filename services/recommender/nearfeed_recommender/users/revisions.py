"""The revision of a user goes with the last row that a feed needs of them."""

from collections.abc import Collection

from sqlalchemy import Connection, Table, delete, select

from nearfeed_contracts.tables import (
    interactions,
    memberships,
    reader_controls,
    reader_resets,
    reader_units,
    user_revisions,
    user_vectors,
)
from nearfeed_runtime.sql import chunks

USER_TABLES: tuple[Table, ...] = (
    interactions,
    memberships,
    reader_controls,
    reader_resets,
    reader_units,
    user_vectors,
)
"""What a feed needs of a user, by `user_id`: whoever writes these raises the revision of the user."""


def forget_revisions(transaction: Connection, user_ids: Collection[str]) -> None:
    """Removes the revisions of those users who have no row in any of USER_TABLES."""
    key = user_revisions.c.user_id
    unknown = [~select(table.c.user_id).where(table.c.user_id == key).exists() for table in USER_TABLES]
    for chunk in chunks(sorted(user_ids)):
        transaction.execute(delete(user_revisions).where(key.in_(chunk), *unknown))
