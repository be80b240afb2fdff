"""The SQLite file of a space, which is the truth of what is in memory.

A folder has a file for each space, named by the hash of the space's name. SQLite runs with a write-ahead
log and `synchronous=FULL`: what was committed survives `kill -9` and a power cut.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_backends.embedded.space_rows import MIN_ROWS, Columns, Names, SpaceRows, encoded_names
from nearfeed_backends.errors import VECTORS, BackendSettingError
from nearfeed_contracts.vector_store import StoredVector

_VERSION = 1
_READ_ROWS = 8_192
_ROOM = 1.05
_SUFFIX = ".db"
_UNFINISHED = ".part"
_BESIDE = ("-wal", "-shm", "-journal")
# Ids of erased authors must not linger in free pages, hence secure_delete.
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
_SCHEMA = (
    "CREATE TABLE space (name TEXT NOT NULL, dim INTEGER NOT NULL)",
    "CREATE TABLE vectors (number INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE, "
    "community_id TEXT NOT NULL, author_id TEXT NOT NULL, published_at INTEGER NOT NULL, "
    "vector BLOB NOT NULL)",
    f"PRAGMA user_version = {_VERSION}",
)
_UPSERT = (
    "INSERT INTO vectors (item_id, community_id, author_id, published_at, vector) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (item_id) DO UPDATE SET community_id = excluded.community_id, "
    "author_id = excluded.author_id, published_at = excluded.published_at, vector = excluded.vector"
)


class SpaceFile:
    """A space's file; for one thread at a time. Methods raise sqlite3.Error."""

    def __init__(self, path: Path, connection: sqlite3.Connection, space: str, dim: int) -> None:
        self.space = space
        self.dim = dim
        self._path = path
        self._connection = connection

    def upsert(self, posts: Sequence[StoredVector]) -> None:
        """Puts posts in one transaction."""
        rows = (
            (
                post.item_id,
                post.community_id,
                post.author_id,
                int(post.published_at),
                np.asarray(post.vector).astype("<f4").tobytes(),
            )
            for post in posts
        )
        with self._connection:
            self._connection.executemany(_UPSERT, rows)

    def delete(self, item_ids: Sequence[str]) -> None:
        """Removes posts in one transaction."""
        with self._connection:
            self._connection.executemany(
                "DELETE FROM vectors WHERE item_id = ?", ((item_id,) for item_id in item_ids)
            )

    def read(self) -> SpaceRows:
        """All rows, sorted by community. Raises ValueError for a vector of a wrong length."""
        names = Names.empty()
        places = self._places(names)
        columns = Columns.empty(max(int(len(places) * _ROOM), MIN_ROWS), self.dim)
        cursor = self._connection.execute(
            "SELECT item_id, community_id, author_id, published_at, vector FROM vectors ORDER BY number"
        )
        begin = 0
        while chunk := cursor.fetchmany(_READ_ROWS):
            rows = _columns(chunk, names, self.dim)
            columns.put(places[begin : begin + len(rows)], rows)
            begin += len(rows)
        return SpaceRows(names, columns, len(places))

    def _places(self, names: Names) -> NDArray[np.int64]:
        """The row number in memory of each row of the file."""
        cursor = self._connection.execute("SELECT community_id FROM vectors ORDER BY number")
        codes = encoded_names([community for (community,) in cursor], names.communities)
        places = np.empty(len(codes), np.int64)
        places[np.argsort(codes, kind="stable")] = np.arange(len(codes))
        return places

    def close(self) -> None:
        self._connection.close()

    def remove(self) -> None:
        """Closes and removes the file; the first step ends the space, `open_files` ends the rest."""
        self.close()
        _remove(self._path)


def create_file(folder: Path, space: str, dim: int) -> SpaceFile:
    """Makes the file of an empty space, whole or not at all."""
    path = folder / (hashlib.sha256(space.encode()).hexdigest() + _SUFFIX)
    part = path.with_suffix(_UNFINISHED)
    _remove(part)
    _remove(path)
    connection = _connect(part)
    with connection:
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO space VALUES (?, ?)", (space, dim))
    connection.close()
    part.replace(path)
    return SpaceFile(path, _connect(path), space, dim)


def open_files(folder: Path) -> list[tuple[SpaceFile, SpaceRows]]:
    """The files of a folder with their rows, and removes what a broken creation or removal has left.

    Raises BackendSettingError that names a damaged file.
    """
    for path in list(folder.iterdir()):
        owner = _owner_of(path)
        if owner.suffix == _UNFINISHED or not owner.exists():
            path.unlink()
    return [_open(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def _open(path: Path) -> tuple[SpaceFile, SpaceRows]:
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path)
        [(version,)] = connection.execute("PRAGMA user_version").fetchall()
        if version > _VERSION:
            raise BackendSettingError(
                f"{VECTORS}: {path} was written by a newer Nearfeed; install that release, or name another "
                "folder."
            )
        [(space, dim)] = connection.execute("SELECT name, dim FROM space").fetchall()
        file = SpaceFile(path, connection, space, dim)
        return file, file.read()
    except (sqlite3.Error, ValueError) as error:
        if connection is not None:
            connection.close()
        raise BackendSettingError(
            f"{VECTORS}: {path} is damaged ({error}); remove that file and load its run again."
        ) from error


def _columns(chunk: Sequence[tuple[Any, ...]], names: Names, dim: int) -> Columns:
    ids, communities, authors, published, blobs = zip(*chunk, strict=True)
    if any(len(blob) != 4 * dim for blob in blobs):
        raise ValueError("a vector has another length than its space")
    return Columns(
        np.frombuffer(b"".join(blobs), "<f4").reshape(len(chunk), dim),
        encoded_names(ids, names.items),
        encoded_names(communities, names.communities),
        encoded_names(authors, names.authors),
        np.array(published, np.int64),
    )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(path: Path) -> None:
    for name in chain((path.name,), (path.name + ending for ending in _BESIDE)):
        path.with_name(name).unlink(missing_ok=True)


def _owner_of(path: Path) -> Path:
    """The database that a file is beside, or itself."""
    for ending in _BESIDE:
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending))
    return path
