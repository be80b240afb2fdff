"""Proves on a sample that a space's search finds what the run says it should."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from nearfeed_contracts.runs import VectorBatch
from nearfeed_contracts.tables import item_contexts
from nearfeed_contracts.vector_store import Filter, VectorStore
from nearfeed_indexer.checking import CheckedRun
from nearfeed_indexer.contexts import stored_contexts, to_bytes
from nearfeed_runtime.sql import chunks, read_connection

K = 20
_TIE = 1e-5

Matrix = NDArray[np.float32]


@dataclass
class _Nearest:
    """The items that are among the K nearest of some query: ids (m) and scores (queries, m)."""

    queries: Matrix
    ids: list[str] = field(default_factory=list)
    scores: Matrix = field(init=False)

    def __post_init__(self) -> None:
        self.scores = np.empty((len(self.queries), 0), np.float32)

    def add(self, ids: list[str], vectors: Matrix) -> None:
        self.ids += ids
        self.scores = np.concatenate([self.scores, self.queries @ vectors.T], axis=1)
        near = np.flatnonzero(self._is_near().any(axis=0))
        self.ids = [self.ids[column] for column in near]
        self.scores = self.scores[:, near]

    def of_each_query(self) -> list[set[str]]:
        """The K nearest of each query, and those that tie with the last of them."""
        return [{self.ids[column] for column in np.flatnonzero(row)} for row in self._is_near()]

    def _is_near(self) -> NDArray[np.bool_]:
        if self.scores.shape[1] <= K:
            return np.ones(self.scores.shape, np.bool_)
        least = np.partition(self.scores, -K, axis=1)[:, -K, None]
        return np.asarray(self.scores >= least - _TIE * np.maximum(np.abs(least), 1), np.bool_)


def search_recall(engine: Engine, store: VectorStore, checked: CheckedRun) -> float:
    """recall@20 of the store's search for up to 50 of the run's vectors, against exact inner products.

    The truth is the run's vectors where a space still holds those, and else what the streams put
    in their place.
    """
    nearest = _Nearest(checked.queries)
    for ids, vectors in _held_vectors(engine, store, checked):
        nearest.add(ids, vectors)
    found = wanted = 0
    for query, truth in zip(checked.queries, nearest.of_each_query(), strict=True):
        hits = {hit.item_id for hit in store.search(checked.space, query, K, Filter())}
        found += len(hits & truth)
        wanted += min(K, len(truth))
    return found / wanted if wanted else 1.0


def _held_vectors(
    engine: Engine, store: VectorStore, checked: CheckedRun
) -> Iterator[tuple[list[str], Matrix]]:
    others = _held_ids(engine, checked.space)
    for batch in checked.run.vector_batches():
        rows = _rows_as_loaded(engine, checked.space, batch)
        ids = [batch.item_ids[row] for row in rows]
        others.difference_update(ids)
        yield ids, batch.vectors[rows]
    for chunk in chunks(sorted(others)):
        fetched = store.fetch(checked.space, chunk)
        if fetched:
            yield list(fetched), np.stack(list(fetched.values()))


def _held_ids(engine: Engine, space: str) -> set[str]:
    table = item_contexts.c
    query = select(table.item_id).where(table.space == space, table.context.is_not(None))
    with read_connection(engine) as connection:
        return set(connection.scalars(query))


def _rows_as_loaded(engine: Engine, space: str, batch: VectorBatch) -> list[int]:
    with read_connection(engine) as connection:
        stored = stored_contexts(connection, space, batch.item_ids, hold=False)
    held = {item_id: row.context for item_id, row in stored.items()}
    return [
        row
        for row, item_id in enumerate(batch.item_ids)
        if held.get(item_id) == to_bytes(batch.contexts[row])
    ]
