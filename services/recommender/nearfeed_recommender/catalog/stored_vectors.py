"""Vectors of posts as the vector store has them, kept for some minutes: what `similar` searches with."""

import threading
from collections.abc import Mapping, Sequence

from cachetools import TTLCache

from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_recommender.catalog.embeddings import Embeddings

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
