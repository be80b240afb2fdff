"""The port VectorStore on Milvus: spaces are searched exactly by inner product or, on a server, by a graph.

What differs between Milvus Lite and a server is in `milvus_opening`.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from pymilvus import MilvusClient, MilvusException

from nearfeed_backends.errors import VECTORS
from nearfeed_backends.milvus.collections import (
    create_collection,
    drop_collection,
    graph_name,
    space_and_dim,
    space_collections,
)
from nearfeed_backends.milvus.index import MilvusGraph, count, wait_until_seen
from nearfeed_backends.space_names import SpaceNames
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


def expression(where: Filter) -> str:
    """The Milvus expression of a filter; empty where it allows everything."""
    terms = []
    if where.community_ids is not None:
        terms.append(one_of("community_id", where.community_ids))
    if where.published_after is not None:
        terms.append(f"published_at >= {where.published_after}")
    if where.item_ids is not None:
        terms.append(one_of("item_id", where.item_ids))
    if where.exclude_item_ids:
        terms.append(one_of("item_id", where.exclude_item_ids, "not in"))
    if where.exclude_author_ids:
        terms.append(one_of("author_id", where.exclude_author_ids, "not in"))
    return " and ".join(terms)


def one_of(field: str, values: Iterable[str], operator: str = "in") -> str:
    """`field in ["a", "b"]`."""
    return f"{field} {operator} [{', '.join(map(_quoted, values))}]"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


MAX_K = 16_384
_ROWS_PER_CALL = 1_000
_WRITE_SECONDS = 30
_FLUSH_SECONDS = 120
_EXACT = {"metric_type": "IP"}
_NO_SUCH_COLLECTION = 100


Lock = AbstractContextManager[Any]


@dataclass
class _Space:
    collection: str
    dim: int
    lock: Lock
    unflushed: int = 0


class MilvusStore:
    """VectorStore over a MilvusClient.

    `graph`: the graphs of a server's spaces, in collections beside the exact ones. `make_lock` gives
    the lock that is held during each call on one space. `flush_rows`: what was upserted is durable at
    once, and each flush of Milvus writes a segment; so a flush of fewer new rows than this waits for
    more.
    """

    def __init__(
        self,
        client: MilvusClient,
        *,
        flush_rows: int,
        make_lock: Callable[[], Lock],
        names: SpaceNames | None = None,
        graph: MilvusGraph | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._flush_rows = flush_rows
        self._make_lock = make_lock
        self._names = names or SpaceNames()
        self._graph = graph
        self._once: dict[str, Any] = graph.once if graph else {}
        self._reading: dict[str, Any] = graph.reading if graph else {}
        self._on_close = on_close
        self._catalogue = threading.RLock()
        self._spaces: dict[str, _Space] = {}
        self._closed = False

    def create_space(self, space: str, dim: int) -> None:
        """Raises ConflictError for a space that exists with another dimension."""
        with self._catalogue, self._translated_errors(space):
            self._refresh()
            found = self._spaces[space].dim if space in self._spaces else dim
            if found != dim:
                raise ConflictError(f"space {space} has {found} dimensions, not {dim}; choose another name.")
            # Also for a space that exists on a server, where its making may have been broken off.
            if self._graph or space not in self._spaces:
                index = self._graph.index() if self._graph else None
                collection = self._names.of(space)
                create_collection(self._client, collection, space, dim, index)
                self._spaces.setdefault(space, self._found(collection, dim))

    def drop_space(self, space: str) -> None:
        with self._catalogue, self._translated_errors(space):
            self._refresh()
            found = self._spaces.pop(space, None)
            if found is not None:
                with found.lock:
                    drop_collection(self._client, found.collection, with_graph=self._graph is not None)

    def spaces(self) -> frozenset[str]:
        with self._catalogue, self._translated_errors("all"):
            self._refresh()
            return frozenset(self._spaces)

    def upsert(self, space: str, vectors: Sequence[StoredVector]) -> None:
        with self._using(space) as found:
            check_vectors(vectors, found.dim)
            latest = {stored.item_id: stored for stored in vectors}
            for rows in _slices(list(latest.values())):
                found.unflushed += len(rows)
                data = [_row(stored) for stored in rows]
                for collection in self._collections(found):
                    self._client.upsert(collection, data, timeout=_WRITE_SECONDS)

    def delete(self, space: str, item_ids: Sequence[str]) -> None:
        with self._using(space) as found:
            for ids in _slices(item_ids):
                found.unflushed += len(ids)
                for collection in self._collections(found):
                    self._client.delete(collection, filter=one_of("item_id", ids), timeout=_WRITE_SECONDS)

    def flush(self, space: str) -> None:
        with self._using(space) as found:
            for collection in self._collections(found):
                if found.unflushed >= self._flush_rows:
                    self._client.flush(collection, timeout=_FLUSH_SECONDS)
                if self._graph:
                    wait_until_seen(self._client, collection)
            if found.unflushed >= self._flush_rows:
                found.unflushed = 0

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> Hits:
        """`k` is at most 16,384."""
        return self.search_many(space, [vector], k, where)[0]

    def search_many(self, space: str, vectors: Sequence[VectorArray], k: int, where: Filter) -> list[Hits]:
        """`k` is at most 16,384."""
        if k > MAX_K:
            raise ValueError(f"k must be at most {MAX_K}, not {k}")
        with self._using(space) as found:
            for vector in vectors:
                check_vector(vector, found.dim)
            if k < 1 or where.allows_nothing or not vectors:
                return [Hits() for _ in vectors]
            rows = [np.asarray(vector, np.float32) for vector in vectors]
            return self._hits(found.collection, rows, k, expression(where))

    def fetch(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        rows: list[Any] = []
        with self._using(space) as found:
            for ids in _slices(item_ids):
                fields = ["item_id", "vector"]
                rows += self._client.query(
                    found.collection, filter=one_of("item_id", ids), output_fields=fields, **self._reading
                )
        return {row["item_id"]: np.asarray(row["vector"], np.float32) for row in rows}

    def count(self, space: str) -> int:
        with self._using(space) as found:
            return count(self._client, found.collection, "", **self._reading)

    def close(self) -> None:
        """Lets calls end that have begun; those that follow raise StoreUnavailableError."""
        with self._catalogue:
            if self._closed:
                return
            self._closed = True
            for found in self._spaces.values():
                with found.lock:
                    pass
            self._client.close()
            self._on_close()

    def _collections(self, found: _Space) -> list[str]:
        return [found.collection, graph_name(found.collection)] if self._graph else [found.collection]

    def _hits(self, collection: str, vectors: list[VectorArray], k: int, where: str) -> list[Hits]:
        if self._graph and self._graph.answers(collection, where):
            params = self._graph.search_params(k)
            found = self._ask(graph_name(collection), vectors, k, where, params)
            # At least k posts match wherever the graph is asked, so fewer hits are a loss of the graph's.
            if all(len(hits) == k for hits in found):
                return found
        return self._ask(collection, vectors, k, where, _EXACT)

    def _ask(
        self, collection: str, vectors: list[VectorArray], k: int, where: str, params: dict[str, Any]
    ) -> list[Hits]:
        found = self._client.search(
            collection, vectors, filter=where, limit=k, search_params=params, **self._reading
        )
        return [Hits(list(hits.ids), hits.distances) for hits in found]

    @contextmanager
    def _using(self, space: str) -> Iterator[_Space]:
        found = self._spaces.get(space) or self._look_up(space)
        with found.lock, self._translated_errors(space):
            yield found

    def _look_up(self, space: str) -> _Space:
        with self._catalogue, self._translated_errors(space):
            self._refresh()
            if space not in self._spaces:
                raise _unknown(space)
            return self._spaces[space]

    def _found(self, collection: str, dim: int) -> _Space:
        return _Space(collection, dim, self._make_lock())

    def _refresh(self) -> None:
        """Makes the catalogue what the server has; other processes may create and drop spaces."""
        known = {found.collection: space for space, found in self._spaces.items()}
        present = space_collections(self._client, self._names, **self._once)
        for collection in known.keys() - present:
            del self._spaces[known[collection]]
        for collection in present - known.keys():
            try:
                space, dim = space_and_dim(self._client, collection, **self._once)
            except MilvusException as error:
                if error.code == _NO_SUCH_COLLECTION:  # dropped since it was listed
                    continue
                raise
            self._spaces[space] = self._found(collection, dim)

    @contextmanager
    def _translated_errors(self, space: str) -> Iterator[None]:
        if self._closed:
            raise StoreUnavailableError(f"{VECTORS}: the vector store is closed.")
        try:
            yield
        except MilvusException as error:
            if error.code == _NO_SUCH_COLLECTION:
                raise _unknown(space) from error
            raise StoreUnavailableError(f"{VECTORS}: Milvus failed ({error.message}).") from error
        except grpc.RpcError as error:
            reason = error.code().name
            raise StoreUnavailableError(f"{VECTORS}: Milvus does not answer ({reason}).") from error


def _unknown(space: str) -> UnknownSpaceError:
    return UnknownSpaceError(f"there is no space {space} in the vector store.")


def _row(stored: StoredVector) -> dict[str, Any]:
    return {
        "item_id": stored.item_id,
        "community_id": stored.community_id,
        "author_id": stored.author_id,
        "published_at": stored.published_at,
        "vector": np.asarray(stored.vector, np.float32),
    }


def _slices(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _ROWS_PER_CALL] for start in range(0, len(values), _ROWS_PER_CALL))
