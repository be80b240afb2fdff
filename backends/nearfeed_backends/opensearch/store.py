"""The port VectorStore on OpenSearch k-NN: one index per space, searched by its graph or exactly."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from opensearchpy import OpenSearch, RequestError
from opensearchpy.helpers import streaming_bulk

from nearfeed_backends.errors import VECTORS
from nearfeed_backends.opensearch.errors import told, unknown
from nearfeed_backends.opensearch.mapping import (
    MAX_GRAPH_K,
    MAX_K,
    OpenSearchSettings,
    alias_of,
    by_graph,
    by_scan,
    index_body,
    inner_product,
    matching,
)
from nearfeed_backends.space_names import SpaceNames
from nearfeed_backends.vector_checks import check_vector, check_vectors
from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.events import VectorArray
from nearfeed_contracts.vector_store import Filter, Hits, StoredVector, StoreUnavailableError

_WRITE_SECONDS = 60
_DOCUMENTS_PER_CALL = 500
_BYTES_PER_CALL = 10 * 2**20
_IDS_PER_CALL = 1_000
# A rejected write is tried again after 1, 2, 4, 8 and 10 s.
_RETRIES, _FIRST_WAIT, _LONGEST_WAIT = 5, 1, 10
_REJECTED, _NOT_FOUND = 429, 404


class OpenSearchStore:
    """VectorStore over an OpenSearch client.

    What was upserted is durable at once and found after a flush. Scores are exact to six digits.
    """

    def __init__(self, client: OpenSearch, settings: OpenSearchSettings) -> None:
        self._client = client
        self._settings = settings
        self._names = SpaceNames(settings.namespace)
        self._dims: dict[str, int] = {}
        self._closed = False

    def create_space(self, space: str, dim: int) -> None:
        """Raises ConflictError for a space that exists with another dimension."""
        index = self._names.of(space)
        with told(space, self._closed):
            try:
                self._client.indices.create(
                    index=index,
                    body=index_body(index, space, dim, self._settings),
                    request_timeout=_WRITE_SECONDS,
                )
            except RequestError as error:
                if error.error != "resource_already_exists_exception":
                    raise
        found = self._look_up(space)
        if found != dim:
            raise ConflictError(f"space {space} has {found} dimensions, not {dim}; choose another name.")

    def drop_space(self, space: str) -> None:
        self._dims.pop(space, None)
        with told(space, self._closed):
            self._client.indices.delete(
                index=self._names.of(space), ignore_unavailable=True, request_timeout=_WRITE_SECONDS
            )

    def spaces(self) -> frozenset[str]:
        with told("all", self._closed):
            described = self._described(self._names.prefix + "*")
        return frozenset(meta["space"] for index, meta in described.items() if self._names.has(index))

    def upsert(self, space: str, vectors: Sequence[StoredVector]) -> None:
        check_vectors(vectors, self._dim(space))
        latest = {stored.item_id: stored for stored in vectors}
        self._write(space, ({"_id": name, **_document(stored)} for name, stored in latest.items()))

    def delete(self, space: str, item_ids: Sequence[str]) -> None:
        self._dim(space)
        self._write(space, ({"_op_type": "delete", "_id": name} for name in dict.fromkeys(item_ids)))

    def flush(self, space: str) -> None:
        with told(space, self._closed):
            self._client.indices.refresh(index=self._names.of(space), request_timeout=_WRITE_SECONDS)

    def search(self, space: str, vector: VectorArray, k: int, where: Filter) -> Hits:
        """`k` is at most 16,384."""
        if k > MAX_K:
            raise ValueError(f"k must be at most {MAX_K}, not {k}")
        check_vector(vector, self._dim(space))
        if k < 1 or where.allows_nothing:
            return Hits()
        values = np.asarray(vector, np.float32).tolist()
        with told(space, self._closed):
            if self._graph_answers(space, k, where):
                hits = self._ask(space, k, by_graph(values, k, where, self._settings))
                # Many more than k posts match, so fewer hits are a loss of the graph's.
                if len(hits) == k:
                    return hits
            return self._ask(space, k, by_scan(values, where))

    def search_many(self, space: str, vectors: Sequence[VectorArray], k: int, where: Filter) -> list[Hits]:
        return [self.search(space, vector, k, where) for vector in vectors]

    def fetch(self, space: str, item_ids: Sequence[str]) -> Mapping[str, VectorArray]:
        vectors: dict[str, VectorArray] = {}
        self._dim(space)
        for ids in _slices(item_ids):
            with told(space, self._closed):
                query = {"query": {"terms": {"item_id": ids}}, "size": len(ids)}
                answer = self._search(space, {**query, "_source": ["item_id", "vector"]}, _WRITE_SECONDS)
            for hit in answer["hits"]["hits"]:
                vectors[hit["_source"]["item_id"]] = np.asarray(hit["_source"]["vector"], np.float32)
        return vectors

    def count(self, space: str) -> int:
        with told(space, self._closed):
            return int(self._client.count(index=self._names.of(space))["count"])

    def close(self) -> None:
        """Calls that follow raise StoreUnavailableError."""
        if not self._closed:
            self._closed = True
            self._client.close()

    def _graph_answers(self, space: str, k: int, where: Filter) -> bool:
        """Whether many posts match, far more than k: a scan of a few is exact and as fast."""
        few = max(self._settings.exact_matches, 2 * k)
        if k > MAX_GRAPH_K:
            return False
        query = {"query": matching(where), "size": 0, "track_total_hits": few + 1}
        return bool(self._search(space, query)["hits"]["total"]["value"] > few)

    def _ask(self, space: str, k: int, query: dict[str, Any]) -> Hits:
        # Doc values alone: the stored document, with its vector, is not read.
        wanted = {"_source": False, "stored_fields": "_none_", "docvalue_fields": ["item_id"]}
        answer = self._search(space, {"query": query, "size": k, **wanted})
        hits = answer["hits"]["hits"]
        return Hits.of((hit["fields"]["item_id"][0], inner_product(hit["_score"])) for hit in hits)

    def _search(self, space: str, body: dict[str, Any], seconds: float | None = None) -> dict[str, Any]:
        """Raises StoreUnavailableError where a part of the shards did not answer."""
        options = {} if seconds is None else {"request_timeout": seconds}
        answer: dict[str, Any] = self._client.search(
            index=self._names.of(space), body=body, allow_partial_search_results=False, **options
        )
        return answer

    def _write(self, space: str, actions: Iterable[dict[str, Any]]) -> None:
        with told(space, self._closed):
            results = streaming_bulk(
                self._client,
                actions,
                chunk_size=_DOCUMENTS_PER_CALL,
                max_chunk_bytes=_BYTES_PER_CALL,
                raise_on_error=False,
                max_retries=_RETRIES,
                initial_backoff=_FIRST_WAIT,
                max_backoff=_LONGEST_WAIT,
                yield_ok=False,
                index=alias_of(self._names.of(space)),
                require_alias=True,
                request_timeout=_WRITE_SECONDS,
            )
            for _, result in results:
                self._check_written(space, *result.values())

    def _check_written(self, space: str, result: dict[str, Any]) -> None:
        if result.get("result") == "not_found":
            return
        if result["status"] == _NOT_FOUND:
            self._dims.pop(space, None)
            raise unknown(space)
        advice = "add nodes or write less at once" if result["status"] == _REJECTED else "see its log"
        raise StoreUnavailableError(
            f"{VECTORS}: OpenSearch refused to write {result['_id']} ({result.get('error')}); {advice}."
        )

    def _dim(self, space: str) -> int:
        return self._dims.get(space) or self._look_up(space)

    def _look_up(self, space: str) -> int:
        with told(space, self._closed):
            [found] = self._described(self._names.of(space)).values()
        self._dims[space] = int(found["dim"])
        return self._dims[space]

    def _described(self, indexes: str) -> dict[str, dict[str, Any]]:
        """Space and dimension by index."""
        mappings = self._client.indices.get_mapping(index=indexes).items()
        metas = {index: found["mappings"].get("_meta", {}) for index, found in mappings}
        return {index: meta["nearfeed"] for index, meta in metas.items() if "nearfeed" in meta}


def _document(stored: StoredVector) -> dict[str, Any]:
    return {
        "item_id": stored.item_id,
        "community_id": stored.community_id,
        "author_id": stored.author_id,
        "published_at": stored.published_at,
        "vector": np.ascontiguousarray(stored.vector, np.float32),
    }


def _slices(values: Sequence[str]) -> Iterator[list[str]]:
    return (list(values[start : start + _IDS_PER_CALL]) for start in range(0, len(values), _IDS_PER_CALL))
