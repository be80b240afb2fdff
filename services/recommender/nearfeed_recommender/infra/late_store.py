"""A vector store that did not answer when the process started, and is opened as soon as it does.

Until then every call raises StoreUnavailableError at once, so that the feed is degraded from the
first request on, instead of absent until somebody has mended the store.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

import structlog

from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import (
    Filter,
    Hits,
    StoredVector,
    StoreUnavailableError,
    VectorStore,
)

logger = structlog.get_logger(__name__)
_RETRY_SECONDS = 1.0


class LateStore:
    """VectorStore around one that `open_it` opens; `run` tries until it is there."""

    def __init__(self, open_it: Callable[[], VectorStore], reason: StoreUnavailableError) -> None:
        self._open = open_it
        self._reason = reason
        self._store: VectorStore | None = None

    def run(self, stop: threading.Event) -> None:
        """Waits for `stop` in the end, for a loop that ends is one that has failed."""
        logger.warning("started without the vector store", error=str(self._reason))
        while self._store is None and not stop.is_set():
            try:
                self._store = self._open()
                logger.info("the vector store answers")
            except StoreUnavailableError as error:
                self._reason = error
                stop.wait(_RETRY_SECONDS)
        stop.wait()

    @property
    def _opened(self) -> VectorStore:
        if self._store is None:
            raise StoreUnavailableError(str(self._reason))
        return self._store

    def create_space(self, space: str, dim: int) -> None:
        self._opened.create_space(space, dim)

    def drop_space(self, space: str) -> None:
        self._opened.drop_space(space)

    def spaces(self) -> frozenset[str]:
        return self._opened.spaces()

    def upsert(self, space: str, vectors: Sequence[StoredVector]) -> None:
        self._opened.upsert(space, vectors)

    def delete(self, space: str, item_ids: Sequence[str]) -> None:
        self._opened.delete(space, item_ids)

    def flush(self, space: str) -> None:
        self._opened.flush(space)

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> Hits:
        return self._opened.search(space, vector, k, where)

    def search_many(self, space: str, vectors: Sequence[VectorArray], k: int, where: Filter) -> list[Hits]:
        return self._opened.search_many(space, vectors, k, where)

    def fetch(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        return self._opened.fetch(space, item_ids)

    def count(self, space: str) -> int:
        return self._opened.count(space)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
