"""The port VectorStore in memory, exact and simple: what the other stores are compared with."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nearfeed_backends.vector_checks import check_vector, check_vectors
from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import Filter, Hits, StoredVector, UnknownSpaceError


@dataclass
class _Space:
    dim: int
    rows: dict[str, StoredVector] = field(default_factory=dict)


class NumpyStore:
    """VectorStore whose vectors end with the process. Hits of one score come in order of their ids."""

    def __init__(self) -> None:
        self._spaces: dict[str, _Space] = {}
        self._lock = threading.RLock()

    def create_space(self, space: str, dim: int) -> None:
        """Raises ConflictError for a space that exists with another dimension."""
        with self._lock:
            found = self._spaces.setdefault(space, _Space(dim))
        if found.dim != dim:
            raise ConflictError(f"space {space} has {found.dim} dimensions, not {dim}; choose another name.")

    def drop_space(self, space: str) -> None:
        with self._lock:
            self._spaces.pop(space, None)

    def spaces(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._spaces)

    def upsert(self, space: str, vectors: Sequence[StoredVector]) -> None:
        with self._lock:
            found = self._space(space)
            check_vectors(vectors, found.dim)
            for stored in vectors:
                found.rows[stored.item_id] = replace(stored, vector=np.array(stored.vector, np.float32))

    def delete(self, space: str, item_ids: Sequence[str]) -> None:
        with self._lock:
            rows = self._space(space).rows
            for item_id in item_ids:
                rows.pop(item_id, None)

    def flush(self, space: str) -> None:
        self._space(space)

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> Hits:
        with self._lock:
            found = self._space(space)
            check_vector(vector, found.dim)
            rows = [row for row in found.rows.values() if matches(row, where)]
        if not rows or k < 1:
            return Hits()
        scores = np.stack([row.vector for row in rows]) @ np.asarray(vector, np.float32)
        hits = zip((row.item_id for row in rows), scores.tolist(), strict=True)
        return Hits.of(sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k])

    def search_many(self, space: str, vectors: Sequence[VectorArray], k: int, where: Filter) -> list[Hits]:
        return [self.search(space, vector, k, where) for vector in vectors]

    def fetch(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        with self._lock:
            rows = self._space(space).rows
            return {item_id: rows[item_id].vector.copy() for item_id in item_ids if item_id in rows}

    def count(self, space: str) -> int:
        with self._lock:
            return len(self._space(space).rows)

    def close(self) -> None:
        """Forgets nothing: what was opened by `memory://` lives as long as the object."""

    def _space(self, space: str) -> _Space:
        found = self._spaces.get(space)
        if found is None:
            raise UnknownSpaceError(f"there is no space {space} in the vector store.")
        return found


def matches(stored: StoredVector, where: Filter) -> bool:
    """Whether a post satisfies a filter."""
    return (
        (where.community_ids is None or stored.community_id in where.community_ids)
        and (where.published_after is None or stored.published_at >= where.published_after)
        and (where.item_ids is None or stored.item_id in where.item_ids)
        and stored.item_id not in where.exclude_item_ids
        and stored.author_id not in where.exclude_author_ids
    )
