"""The port VectorStore in this process: exact search by faiss in memory, rows in SQLite files."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from nearfeed_backends.embedded.exact_search import Mask, best_of, best_rows, mask_of
from nearfeed_backends.embedded.space_file import SpaceFile, create_file, open_files
from nearfeed_backends.embedded.space_rows import Snapshot, SpaceRows
from nearfeed_backends.errors import VECTORS, BackendSettingError
from nearfeed_backends.vector_checks import check_vector, check_vectors
from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import (
    Filter,
    Hits,
    StoredVector,
    StoreUnavailableError,
    UnknownSpaceError,
)

_LOCK = "lock"


@dataclass
class _Space:
    file: SpaceFile
    rows: SpaceRows
    writing: threading.Lock = field(default_factory=threading.Lock)
    dropped: bool = False


@dataclass(frozen=True)
class FaissView:
    """SpaceView of a snapshot."""

    snapshot: Snapshot

    @property
    def layout(self) -> object:
        return self.snapshot.names

    def __len__(self) -> int:
        return len(self.snapshot.columns)

    def item_ids(self, start: int) -> Sequence[str]:
        names = self.snapshot.names.items.names
        return [names[code] for code in self.snapshot.columns.items[start:].tolist()]

    def nearest(self, vector: VectorArray, k: int, allowed: Mask) -> tuple[NDArray[np.int64], VectorArray]:
        check_vector(vector, self.snapshot.columns.vectors.shape[1])
        query = np.ascontiguousarray(vector, np.float32)
        return best_rows(self.snapshot, allowed & self.snapshot.live, query, k)


class FaissStore:
    """InProcessStore on the folder `path`, which one process uses at a time.

    An upsert or deletion is one transaction: when it returns it survives the end of the process and a
    power cut, and the next search finds it. Searches wait for no writer. All vectors are in memory:
    `4 · dim + 21` bytes a post, and the ids. Raises BackendSettingError that says what to correct.
    """

    def __init__(self, path: str) -> None:
        self._folder = Path(path)
        self._lock = _locked(self._folder)
        try:
            opened = open_files(self._folder)
        except BaseException:
            self._lock.release()
            raise
        self._spaces = {file.space: _Space(file, rows) for file, rows in opened}
        self._catalogue = threading.Lock()
        self._closed = False

    def create_space(self, space: str, dim: int) -> None:
        """Raises ConflictError for a space that exists with another dimension."""
        with self._catalogue, self._reported():
            found = self._spaces.get(space)
            if found is None:
                file = create_file(self._folder, space, dim)
                self._spaces[space] = _Space(file, SpaceRows.empty(dim))
            elif found.rows.dim != dim:
                raise ConflictError(
                    f"space {space} has {found.rows.dim} dimensions, not {dim}; choose another name."
                )

    def drop_space(self, space: str) -> None:
        with self._catalogue, self._reported():
            found = self._spaces.get(space)
            if found is not None:
                with found.writing:
                    found.file.remove()
                    found.dropped = True
                del self._spaces[space]

    def spaces(self) -> frozenset[str]:
        with self._catalogue, self._reported():
            return frozenset(self._spaces)

    def upsert(self, space: str, vectors: Sequence[StoredVector]) -> None:
        """One transaction: all of the vectors, or after an error none."""
        check_vectors(vectors, self._found(space).rows.dim)
        latest = list({stored.item_id: stored for stored in vectors}.values())
        with self._writing(space) as found:
            found.file.upsert(latest)
            found.rows.upsert(latest)

    def delete(self, space: str, item_ids: Sequence[str]) -> None:
        """One transaction: all of the ids, or after an error none."""
        with self._writing(space) as found:
            found.file.delete(item_ids)
            found.rows.delete(item_ids)

    def flush(self, space: str) -> None:
        """Has nothing to do: every write was durable and could be searched when it returned."""
        self._found(space)

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> Hits:
        """Hits of one score come in the order of their ids."""
        return self.search_many(space, [vector], k, where)[0]

    def search_many(self, space: str, vectors: Sequence[VectorArray], k: int, where: Filter) -> list[Hits]:
        """The filter is evaluated once."""
        rows = self._found(space).rows
        for vector in vectors:
            check_vector(vector, rows.dim)
        if k < 1 or where.allows_nothing or not vectors:
            return [Hits() for _ in vectors]
        snapshot = rows.snapshot
        mask = mask_of(snapshot, where)
        queries = (np.ascontiguousarray(vector, np.float32) for vector in vectors)
        return [best_of(snapshot, mask, query, k) for query in queries]

    def view(self, space: str) -> FaissView:
        return FaissView(self._found(space).rows.snapshot)

    def fetch(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        snapshot = self._found(space).rows.snapshot
        rows = {item_id: snapshot.row_of(item_id) for item_id in item_ids}
        vectors = snapshot.columns.vectors
        return {item_id: vectors[row].copy() for item_id, row in rows.items() if row is not None}

    def count(self, space: str) -> int:
        return self._found(space).rows.snapshot.count

    def close(self) -> None:
        """Lets writes end that have begun; calls that follow raise StoreUnavailableError."""
        with self._catalogue:
            if self._closed:
                return
            self._closed = True
            for found in self._spaces.values():
                with found.writing:
                    found.file.close()
            self._lock.release()

    def _found(self, space: str) -> _Space:
        self._check_open()
        found = self._spaces.get(space)
        if found is None:
            raise _unknown(space)
        return found

    @contextmanager
    def _writing(self, space: str) -> Iterator[_Space]:
        found = self._found(space)
        with found.writing, self._reported():
            if found.dropped:
                raise _unknown(space)
            yield found

    @contextmanager
    def _reported(self) -> Iterator[None]:
        self._check_open()
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailableError(
                f"{VECTORS}: {self._folder} cannot be written ({error}); free or repair its disk."
            ) from error

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError(f"{VECTORS}: the vector store is closed.")


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / _LOCK, timeout=0, mode=0o600)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BackendSettingError(
            f"{VECTORS}: {folder} is in use by another process; end it, or name another folder."
        ) from None
    except OSError as error:
        raise BackendSettingError(
            f"{VECTORS}: {folder} cannot be used as a folder of vectors ({error.strerror}); name another."
        ) from error
    return lock


def _unknown(space: str) -> UnknownSpaceError:
    return UnknownSpaceError(f"there is no space {space} in the vector store.")
