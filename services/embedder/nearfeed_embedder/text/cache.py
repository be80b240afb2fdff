"""Text vectors by the hash of their content and of the model that made them, in one SQLite file."""

import hashlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from nearfeed_embedder.text.model import TextVectors

_MODELS_KEPT = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (fingerprint TEXT PRIMARY KEY, used_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (
    fingerprint TEXT NOT NULL, text_hash BLOB NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (fingerprint, text_hash)
) WITHOUT ROWID;
"""


class VectorCache:
    """The vectors of one model. Those of models used long ago are forgotten."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fingerprint = fingerprint
        with closing(self._connect()) as connection, connection:
            connection.executescript(_SCHEMA)
            connection.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (fingerprint, time.time()))
            _forget_old_models(connection)

    def get(self, texts: Sequence[str]) -> dict[str, TextVectors]:
        """The vectors of those texts that are known."""
        found: dict[str, TextVectors] = {}
        with closing(self._connect()) as connection:
            for text in texts:
                row = connection.execute(
                    "SELECT vector FROM vectors WHERE fingerprint = ? AND text_hash = ?",
                    (self._fingerprint, _hash(text)),
                ).fetchone()
                if row:
                    found[text] = np.frombuffer(row[0], dtype="<f4")
        return found

    def put(self, vectors: Mapping[str, TextVectors]) -> None:
        rows = [
            (self._fingerprint, _hash(text), vector.astype("<f4").tobytes())
            for text, vector in vectors.items()
        ]
        with closing(self._connect()) as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)


def _forget_old_models(connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM models WHERE fingerprint NOT IN "
        "(SELECT fingerprint FROM models ORDER BY used_at DESC LIMIT ?)",
        (_MODELS_KEPT,),
    )
    connection.execute("DELETE FROM vectors WHERE fingerprint NOT IN (SELECT fingerprint FROM models)")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
