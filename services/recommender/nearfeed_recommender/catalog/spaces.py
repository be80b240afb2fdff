"""The spaces, the active one, and vectors of posts that are kept in memory."""

import threading
from collections.abc import Mapping

from cachetools import TTLCache
from sqlalchemy import Connection, select

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import active_space_name, spaces
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.catalog.embeddings import Embeddings


class NoSuchSpaceError(NotFoundError):
    """A space that does not exist."""


def active_space_of(connection: Connection) -> str | None:
    """The space that is served; None before the first activation."""
    return connection.scalar(select(active_space_name()))


def blocks_of(connection: Connection, space: str) -> tuple[Block, ...] | None:
    """How input embeddings of a space become a user vector; None for a space that does not exist."""
    manifest = connection.scalar(select(spaces.c.manifest).where(spaces.c.space == space))
    return Manifest.model_validate_json(manifest).blocks if manifest else None


def require_space(connection: Connection, space: str) -> None:
    """Raises NoSuchSpaceError that names the spaces that exist."""
    known = list(connection.scalars(select(spaces.c.space).order_by(spaces.c.created_at)))
    if space not in known:
        raise NoSuchSpaceError(f"There is no space {space!r}; spaces: {', '.join(known) or 'none'}.")


_SECONDS = 300.0
_MOST = 20_000


class StoredVectors:
    """Vectors of posts, kept for five minutes. Thread-safe. A post without one is asked for each time."""

    def __init__(self, store: VectorStore, embeddings: Embeddings) -> None:
        self._store, self._embeddings = store, embeddings
        self._kept: TTLCache[tuple[str, int, int, int], VectorArray] = TTLCache(_MOST, _SECONDS)
        self._lock = threading.Lock()

    def of(self, space: str, rows: Rows) -> Mapping[int, VectorArray]:
        """The vectors (dim) of those posts that have one, by row. Raises StoreUnavailableError."""
        columns, created_at = self._embeddings.columns, self._embeddings.created_at(space)
        keys = {row: (space, created_at, row, int(columns.version[row])) for row in rows.tolist()}
        with self._lock:
            found = {row: vector for row, key in keys.items() if (vector := self._kept.get(key)) is not None}
        missing = {columns.ids[row]: row for row in keys if row not in found}
        if missing:
            fetched = self._store.fetch(space, list(missing))
            with self._lock:
                for item, vector in fetched.items():
                    found[missing[item]] = self._kept[keys[missing[item]]] = vector
        return {row: found[row] for row in keys if row in found}
