"""The one point read of a request: whether what this process has in memory is still true."""

from typing import NamedTuple

from sqlalchemy import Engine

from nearfeed_recommender.catalog.catalog import ITEMS
from nearfeed_recommender.catalog.embeddings import CONTEXTS
from nearfeed_runtime.point_reads import read_rows

_FRESHNESS = (
    "SELECT COALESCE((SELECT revision FROM user_revisions WHERE user_id = ?), "
    "(SELECT erased_at FROM erased_users WHERE user_hash = ?), 0), "
    "(SELECT space FROM active_space WHERE slot = 1), "
    "(SELECT value FROM change_sequence WHERE name = ?), "
    "(SELECT value FROM change_sequence WHERE name = ?)"
)


class Freshness(NamedTuple):
    """What SQL says: the user's revision, the active space, the last changes.

    The revision of a user without one is when they were erased, 0 where never: who was erased has another
    one than who was never there.
    """

    revision: int
    space: str | None
    items: int
    embeddings: int


def read_freshness(engine: Engine, user_id: str, user_hash: str) -> Freshness:
    """One statement with five look-ups by primary key; `user_hash` is that by which an erasure is kept."""
    asked = (user_id, user_hash, ITEMS, CONTEXTS)
    ((revision, space, items, embeddings),) = read_rows(engine, _FRESHNESS, asked)
    return Freshness(revision, space, items or 0, embeddings or 0)
