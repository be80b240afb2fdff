"""Input embeddings of posts by space, of which the last used are kept in one matrix a space.

An input embedding is what an engagement with a post adds to its user (`context` in a run). All of it comes
from SQL; what the indexer changes is dropped by the numbers that it gives to changes.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, bindparam, func, select

from nearfeed_contracts.tables import change_sequence, item_contexts, spaces
from nearfeed_recommender.catalog.columns import Columns, Mask, Rows
from nearfeed_runtime.sql import chunks, read_connection

Matrix = NDArray[np.float32]

CONTEXTS = "contexts"
"""The name of the sequence that numbers changes of input embeddings."""
_MOST_BYTES = 128 * 2**20
_SPACES = 4
_UNKNOWN, _ABSENT = -1, -2
_VECTORS = select(item_contexts.c.item_id, item_contexts.c.context).where(
    item_contexts.c.space == bindparam("space"),
    item_contexts.c.item_id.in_(bindparam("ids", expanding=True)),
    item_contexts.c.context.is_not(None),
)
_CHANGED = select(item_contexts.c.item_id).where(
    item_contexts.c.space == bindparam("space"), item_contexts.c.change_id > bindparam("after")
)
_ALL = select(item_contexts.c.item_id, item_contexts.c.context).where(
    item_contexts.c.space == bindparam("space"), item_contexts.c.context.is_not(None)
)


class Embedded(NamedTuple):
    """Of posts (n): `known` (n) says which have an embedding; `vectors` (known, dim), `lengths` (known)."""

    vectors: Matrix
    known: Mask
    lengths: NDArray[np.float32]


class Embeddings:
    """Of the spaces that were asked for last, up to a number of bytes each. Thread-safe."""

    def __init__(self, engine: Engine, columns: Columns, most_bytes: int = _MOST_BYTES) -> None:
        self._engine = engine
        self.columns = columns
        self._most_bytes = most_bytes
        self._spaces: dict[str, _Kept] = {}
        self._change_id = 0
        self._lock = threading.Lock()

    def of(self, space: str, rows: Rows) -> Embedded:
        """The embeddings of posts, by their rows in the columns (n)."""
        return self._followed(space).of(rows)

    def created_at(self, space: str) -> int:
        """When the space was made, in microseconds, 0 for one that is not there.

        One that is dropped and loaded again under its name is another space.
        """
        return self._followed(space).created_at

    def follow(self, change_id: int) -> None:
        """Says what the last change is: what has changed until then is read again, in every space."""
        self._change_id = max(self._change_id, change_id)

    def preload(self, space: str) -> None:
        """Reads the whole space, where it fits."""
        with read_connection(self._engine) as connection:
            posts = connection.scalar(select(func.count()).where(item_contexts.c.space == space)) or 0
        self._kept(space).preload(posts)

    def _followed(self, space: str) -> "_Kept":
        """What is kept of a space, as of the last change that is known."""
        kept, change_id = self._kept(space), self._change_id
        if change_id > kept.change_id and not kept.follow(change_id):
            kept = self._kept(space, instead_of=kept)
        return kept

    def _kept(self, space: str, instead_of: "_Kept | None" = None) -> "_Kept":
        kept = self._spaces.get(space)
        if kept is instead_of:
            with self._lock:
                kept = self._spaces.get(space)
                if kept is None or kept is instead_of:
                    kept = _Kept(self._engine, self.columns, space, self._most_bytes)
                    others = [each for each in self._spaces.items() if each[0] != space]
                    self._spaces = dict([(space, kept), *others][:_SPACES])
        assert kept is not None
        return kept


class _Kept:
    """The embeddings of one space: slots of a matrix, which are used again in the order of their filling."""

    def __init__(self, engine: Engine, columns: Columns, space: str, most_bytes: int) -> None:
        self._engine, self._columns, self._space, self._most_bytes = engine, columns, space, most_bytes
        self._lock = threading.RLock()
        self._vectors: Matrix = np.empty((0, 0), np.float32)
        self._lengths = np.empty(0, np.float32)  # 1 for a vector of zeros
        self._owners = np.empty(0, np.int32)
        self._slots = np.empty(0, np.int32)
        self._filled = 0
        with read_connection(engine) as connection:
            self.change_id = last_change(connection)
            self.created_at = _created_at(connection, space)

    def of(self, rows: Rows) -> Embedded:
        with self._lock:
            slots = self._slots_of(rows)
            known = slots >= 0
            found = slots[known]
            return Embedded(self._vectors[found], known, self._lengths[found])

    def follow(self, change_id: int) -> bool:
        """Returns whether it still is the same space."""
        with self._lock, read_connection(self._engine) as connection:
            if _created_at(connection, self._space) != self.created_at:
                return False
            asked = {"space": self._space, "after": self.change_id}
            changed = self._columns.rows_of(connection.scalars(_CHANGED, asked))
            self._slots[changed[(changed >= 0) & (changed < len(self._slots))]] = _UNKNOWN
            self.change_id = change_id
            return True

    def preload(self, posts: int) -> None:
        with self._lock, read_connection(self._engine) as connection:
            found = connection.execution_options(yield_per=1_000).execute(_ALL, {"space": self._space})
            for batch in found.partitions():
                self._put(self._columns.reserve(row.item_id for row in batch), [row.context for row in batch])
                if posts * self._vectors.shape[1] * 4 > self._most_bytes:
                    return

    def _slots_of(self, rows: Rows) -> NDArray[np.int32]:
        self._make_room(int(rows.max(initial=0)) + 1)
        slots = self._slots[rows]
        while (unknown := slots == _UNKNOWN).any():
            # What is read may push out others that are asked for, which are read next: all of them fit.
            self._load(np.unique(rows[unknown]), needed=len(rows))
            slots = self._slots[rows]
        return slots

    def _load(self, rows: Rows, needed: int) -> None:
        ids = self._columns.ids
        with read_connection(self._engine) as connection:
            for chunk in chunks([ids[row] for row in rows.tolist()]):
                found = connection.execute(_VECTORS, {"space": self._space, "ids": chunk}).all()
                asked = self._columns.rows_of(chunk)
                self._slots[asked] = _ABSENT
                self._put(
                    self._columns.rows_of(row.item_id for row in found),
                    [row.context for row in found],
                    needed,
                )

    def _put(self, rows: Rows, blobs: Sequence[bytes], needed: int = 0) -> None:
        if not blobs:
            return
        vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), -1)
        self._make_room(int(rows.max()) + 1)
        self._widen(vectors.shape[1], len(rows) + needed)
        size = len(self._owners)
        slots = (self._filled + np.arange(len(rows), dtype=np.int32)) % size
        before = self._owners[slots]
        self._slots[before[(before >= 0) & (self._slots[before] == slots)]] = _UNKNOWN
        self._vectors[slots] = vectors
        lengths = np.linalg.norm(vectors, axis=1)
        self._lengths[slots] = np.where(lengths > 0, lengths, 1)
        self._owners[slots] = rows
        self._slots[rows] = slots
        self._filled += len(rows)

    def _widen(self, dim: int, more: int) -> None:
        """Makes the matrix larger while it may be, so that no slot is used again before it must be."""
        size = len(self._owners)
        if self._filled + more <= size:
            return
        most = max(self._most_bytes // (4 * dim), 2 * more)
        wanted = min(max(1_024, 2 * size, self._filled + more), most)
        if wanted <= size:
            return
        vectors = np.zeros((wanted, dim), np.float32)
        owners = np.full(wanted, -1, np.int32)
        lengths = np.ones(wanted, np.float32)
        vectors[:size], owners[:size] = self._vectors if size else 0, self._owners
        lengths[:size] = self._lengths
        # Slots beyond the old matrix are free: filling goes on there.
        self._filled = self._filled if self._filled <= size else size
        self._vectors, self._lengths, self._owners = vectors, lengths, owners

    def _make_room(self, rows: int) -> None:
        if rows > len(self._slots):
            slots = np.full(max(rows, len(self._columns.live)), _UNKNOWN, np.int32)
            slots[: len(self._slots)] = self._slots
            self._slots = slots


def _created_at(connection: Connection, space: str) -> int:
    return connection.scalar(select(spaces.c.created_at).where(spaces.c.space == space)) or 0


def last_change(connection: Connection) -> int:
    """The number of the last committed change of input embeddings; 0 before the first."""
    sequence = change_sequence.c
    return connection.scalar(select(sequence.value).where(sequence.name == CONTEXTS)) or 0
