"""The port VectorStore: filtered inner-product search over the vectors of spaces."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

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

    `published_after` is inclusive, in microseconds since 1970. A post must be among `item_ids` and not
    among `exclude_item_ids`.
    """

    community_ids: frozenset[str] | None = None
    published_after: int | None = None
    exclude_item_ids: frozenset[str] = frozenset()
    exclude_author_ids: frozenset[str] = frozenset()
    item_ids: frozenset[str] | None = None

    @property
    def allows_nothing(self) -> bool:
        """Whether no post can match, whatever the space holds."""
        return self.community_ids == frozenset() or self.item_ids == frozenset()


class Hit(NamedTuple):
    item_id: str
    score: float


class Hits(Sequence[Hit]):
    """The hits of one search, best first, as columns: `item_ids` (n) and `scores` (n, float32).

    It equals a sequence of the same hits. Reading the columns makes no object per hit.
    """

    __slots__ = ("_item_ids", "_scores")

    def __init__(self, item_ids: Sequence[str] = (), scores: NDArray[np.float32] | Sequence[float] = ()):
        self._item_ids = item_ids
        self._scores = np.asarray(scores, np.float32)
        if self._scores.shape != (len(item_ids),):
            raise ValueError(f"{len(item_ids)} ids have scores of the shape {self._scores.shape}")
        self._scores = self._scores.view()
        self._scores.flags.writeable = False

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, float]]) -> "Hits":
        """The hits of pairs of id and score, best first."""
        found = list(pairs)
        return cls([item_id for item_id, _ in found], [score for _, score in found])

    @property
    def item_ids(self) -> Sequence[str]:
        return self._item_ids

    @property
    def scores(self) -> NDArray[np.float32]:
        """Read-only."""
        return self._scores

    def __len__(self) -> int:
        return len(self._item_ids)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> "Hits": ...
    def __getitem__(self, index: int | slice) -> "Hit | Hits":
        if isinstance(index, slice):
            return Hits(self._item_ids[index], self._scores[index])
        return Hit(self._item_ids[index], float(self._scores[index]))

    def __iter__(self) -> Iterator[Hit]:
        return map(Hit, self._item_ids, self._scores.tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Hits):
            return list(self._item_ids) == list(other._item_ids) and np.array_equal(
                self._scores, other._scores
            )
        if isinstance(other, list | tuple):
            return len(self) == len(other) and all(map(Hit.__eq__, self, other))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Hits.of({list(self)!r})"


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

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> Hits:
        """The min(k, matching) items of the highest inner product, best first; equal ones in any order."""
        ...

    def search_many(self, space: str, vectors: Sequence[VectorArray], k: int, where: Filter) -> list[Hits]:
        """What `search` finds with each of the vectors, in one question where the store can."""
        ...

    def fetch(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        """The vectors of those items that the space holds."""
        ...

    def count(self, space: str) -> int: ...

    def close(self) -> None: ...


class SpaceView(Protocol):
    """A space of a store in this process as it was at one moment. Each live row has a post; length: rows."""

    @property
    def layout(self) -> object:
        """Two views of one layout have the same posts in the rows that both have."""
        ...

    def __len__(self) -> int: ...

    def item_ids(self, start: int) -> Sequence[str]:
        """The posts of the rows from `start` on."""
        ...

    def nearest(
        self, vector: VectorArray, k: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The min(k, matching) live rows among `allowed` (rows) of the highest inner product, and these.

        Best first, equal ones in the order of their ids. Raises VectorDimensionError.
        """
        ...


@runtime_checkable
class InProcessStore(VectorStore, Protocol):
    """A store whose rows can be chosen by the caller, who need not name posts then."""

    def view(self, space: str) -> SpaceView: ...
