"""User vectors in SQL: a cache of engagements and input embeddings.

Only the consumer computes them. Whoever changes what a vector follows from marks it stale in the same
transaction.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from sqlalchemy import Connection, Table, delete, select, update

from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import (
    interactions,
    memberships,
    reader_controls,
    reader_resets,
    reader_units,
    spaces,
    user_revisions,
    user_vectors,
)
from nearfeed_recommender.users.profiles import Pooling, Vector, load_profiles
from nearfeed_runtime.changes import raise_all_revisions, raise_revisions
from nearfeed_runtime.sql import chunks, claim, upsert

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


def live_spaces(connection: Connection) -> dict[str, tuple[Block, ...]]:
    """The blocks of every space that there is, loading ones included."""
    rows = connection.execute(select(spaces.c.space, spaces.c.manifest))
    return {row.space: Manifest.model_validate_json(row.manifest).blocks for row in rows}


def refresh_vectors(
    transaction: Connection, pooling: Pooling, space: str, blocks: Sequence[Block], user_ids: Iterable[str]
) -> None:
    """Recomputes and stores the vectors of readers; a reader without one loses their row.

    The rows are claimed before anything is read: who marks a reader stale from then on waits, and marks
    what is stored here.
    """
    readers = sorted(set(user_ids))
    raise_revisions(transaction, readers)
    claim(transaction, user_vectors, [_unmade_row(space, user_id) for user_id in readers])
    kept, gone = [], []
    for user_id, profile in load_profiles(transaction, pooling, space, readers):
        vector = profile.vector(blocks)
        if vector is None:
            gone.append(user_id)
        else:
            kept.append(_row_of(space, user_id, vector, len(profile.rows)))
    upsert(transaction, user_vectors, kept)
    for chunk in chunks(gone):
        transaction.execute(
            delete(user_vectors).where(user_vectors.c.space == space, user_vectors.c.user_id.in_(chunk))
        )
    forget_revisions(transaction, gone)


def mark_stale(transaction: Connection, space: str, user_ids: Sequence[str]) -> None:
    """Marks readers to be recomputed, those without a vector too."""
    raise_revisions(transaction, user_ids)
    for chunk in chunks(sorted(user_ids)):
        rows = [_unmade_row(space, user_id) for user_id in chunk]
        upsert(transaction, user_vectors, rows, keep=["vector", "readings"])


def mark_reader_stale(transaction: Connection, user_id: str) -> None:
    """Marks a reader in every space: to be called where what their vector follows from has changed."""
    for space in sorted(live_spaces(transaction)):
        mark_stale(transaction, space, [user_id])


def mark_all_stale(transaction: Connection) -> None:
    """Marks all users in every space."""
    raise_all_revisions(transaction)
    transaction.execute(update(user_vectors).values(stale=True))


def stale_readers(connection: Connection, limit: int) -> list[tuple[str, str]]:
    """Up to `limit` pairs of space and reader that wait for recomputation."""
    query = (
        select(user_vectors.c.space, user_vectors.c.user_id)
        .where(user_vectors.c.stale.is_(True))
        .limit(limit)
    )
    return [(row.space, row.user_id) for row in connection.execute(query)]


def stored_vector(connection: Connection, space: str, user_id: str) -> Vector | None:
    """The vector (dim) float32 in the cache; None where it is missing or stale."""
    blob = connection.scalar(
        select(user_vectors.c.vector).where(
            user_vectors.c.space == space,
            user_vectors.c.user_id == user_id,
            user_vectors.c.stale.is_(False),
        )
    )
    return np.frombuffer(blob, dtype="<f4") if blob else None


def _unmade_row(space: str, user_id: str) -> dict[str, object]:
    return {"space": space, "user_id": user_id, "vector": b"", "readings": 0, "stale": True}


def _row_of(space: str, user_id: str, vector: Vector, readings: int) -> dict[str, object]:
    blob = vector.astype("<f4").tobytes()
    return {"space": space, "user_id": user_id, "vector": blob, "readings": readings, "stale": False}
