"""Which spaces there are, and which one is served."""

import threading
from collections.abc import Mapping, Sequence

from cachetools import TTLCache
from sqlalchemy import Connection, select

from nearfeed_contracts.errors import NotFoundError
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.runs import Block, Manifest
from nearfeed_contracts.tables import active_space_name, spaces
from nearfeed_contracts.vector_store import VectorStore
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
    """Thread-safe. A post without a vector is asked for each time."""

    def __init__(self, store: VectorStore, embeddings: Embeddings) -> None:
        self._store, self._embeddings = store, embeddings
        self._kept: TTLCache[tuple[str, int, str], VectorArray] = TTLCache(_MOST, _SECONDS)
        self._lock = threading.Lock()

    def of(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        """The vectors (dim) of those posts that have one. Raises StoreUnavailableError."""
        own = space, self._embeddings.created_at(space)
        with self._lock:
            found = {
                item: vector for item in item_ids if (vector := self._kept.get((*own, item))) is not None
            }
        missing = [item for item in item_ids if item not in found]
        if missing:
            fetched = self._store.fetch(space, missing)
            with self._lock:
                for item, vector in fetched.items():
                    self._kept[*own, item] = vector
            found |= fetched
        return {item: found[item] for item in item_ids if item in found}
