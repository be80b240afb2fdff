"""The port VectorStore: filtered inner-product search over the vectors of spaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nearfeed_contracts.errors import BackendUnavailableError, NotFoundError
from nearfeed_contracts.events import VectorArray


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A post as the store keeps it; `published_at` in microseconds since 1970."""

    item_id: str
    community_id: str
    author_id: str
    published_at: int
    vector: VectorArray


@dataclass(frozen=True, slots=True)
class Filter:
    """What a hit must satisfy; None allows everything, an empty set nothing.

    `published_after` is inclusive, in microseconds since 1970.
    """

    community_ids: frozenset[str] | None = None
    published_after: int | None = None
    exclude_item_ids: frozenset[str] = frozenset()
    exclude_author_ids: frozenset[str] = frozenset()


class Hit(NamedTuple):
    item_id: str
    score: float


class StoreUnavailableError(BackendUnavailableError):
    """The vector store cannot be reached now."""


class UnknownSpaceError(NotFoundError):
    """No such space in the store."""


class VectorDimensionError(ValueError):
    """A vector whose length is not the space's dimension, or that holds NaN or infinity."""


class VectorStore(Protocol):
    """Vectors by space. Every method but `create_space` and `spaces` raises UnknownSpaceError.

    Safe for use by several threads. All methods raise StoreUnavailableError.
    """

    def create_space(self, space: str, dim: int) -> None:
        """Makes an empty space; one that exists with the same dimension is left as it is."""
        ...

    def drop_space(self, space: str) -> None:
        """Removes a space with its vectors; one that does not exist is no error."""
        ...

    def spaces(self) -> frozenset[str]: ...

    def upsert(self, space: str, vectors: Sequence[StoredVector]) -> None:
        """Puts vectors by item id; all or, after an error, a part of them (the call is repeatable).

        What is written can be searched once `flush` returned. Raises VectorDimensionError
        before anything is written.
        """
        ...

    def delete(self, space: str, item_ids: Sequence[str]) -> None:
        """Removes vectors; unknown ids are no error."""
        ...

    def flush(self, space: str) -> None:
        """Returns when all that was written is durable and can be searched."""
        ...

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> list[Hit]:
        """The min(k, matching) items of the highest inner product, best first."""
        ...

    def search_many(
        self, space: str, vectors: Sequence[VectorArray], k: int, where: Filter
    ) -> list[list[Hit]]:
        """What `search` finds with each of the vectors, in one question where the store can."""
        ...

    def fetch(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        """The vectors of those items that the space holds."""
        ...

    def count(self, space: str) -> int: ...

    def close(self) -> None: ...
