"""The index behind a space: its name, settings and mapping, and how scores and filters are written."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from nearfeed_backends.space_names import Namespace
from nearfeed_backends.url_settings import UrlSettings
from nearfeed_contracts.vector_store import Filter

# A space's posts are written through an alias, so that no write can make an index of a dropped space.
_WRITES = "_writes"
# As many hits as a search may ask for; the graph itself gives at most 10,000.
MAX_K = 16_384
MAX_GRAPH_K = 10_000


class OpenSearchSettings(UrlSettings):
    """The query of `opensearch://[USER:PASSWORD@]HOST:PORT?…`; `timeout` of a search in seconds."""

    engine: Literal["lucene", "faiss"] = "lucene"
    m: int = Field(16, ge=2, le=512)
    ef_construction: int = Field(200, ge=8, le=4096)
    ef_search: int = Field(512, ge=1, le=MAX_GRAPH_K)
    exact_matches: int = Field(10_000, ge=0)
    shards: int = Field(1, ge=1)
    replicas: int = Field(0, ge=0)
    timeout: float = Field(2.0, gt=0)
    namespace: Namespace = ""
    secure: bool = False
    verify: bool = True


def alias_of(index: str) -> str:
    """The alias through which an index is written."""
    return index + _WRITES


def index_body(index: str, space: str, dim: int, settings: OpenSearchSettings) -> dict[str, Any]:
    """Settings, and the mapping with the space's own name. Flushing refreshes: a load builds few graphs."""
    name = {"type": "keyword"}
    return {
        "settings": {
            "index.knn": True,
            "index.number_of_shards": settings.shards,
            "index.number_of_replicas": settings.replicas,
            "index.refresh_interval": "30s",
            "index.max_result_window": MAX_K,
            "index.max_terms_count": 1_000_000,
        },
        "aliases": {alias_of(index): {"is_write_index": True}},
        "mappings": {
            "dynamic": "strict",
            "_meta": {"nearfeed": {"space": space, "dim": dim}},
            "properties": {
                "item_id": name,
                "community_id": name,
                "author_id": name,
                "published_at": {"type": "long"},
                "vector": _vector(dim, settings),
            },
        },
    }


def matching(where: Filter) -> dict[str, Any]:
    """The query of a filter; it gives no scores."""
    terms: list[dict[str, Any]] = []
    if where.community_ids is not None:
        terms.append({"terms": {"community_id": sorted(where.community_ids)}})
    if where.published_after is not None:
        terms.append({"range": {"published_at": {"gte": where.published_after}}})
    if where.item_ids is not None:
        terms.append({"terms": {"item_id": sorted(where.item_ids)}})
    excluded = [
        {"terms": {field: sorted(values)}}
        for field, values in (("item_id", where.exclude_item_ids), ("author_id", where.exclude_author_ids))
        if values
    ]
    return {"bool": {"filter": terms, "must_not": excluded}} if terms or excluded else {"match_all": {}}


def by_graph(vector: list[float], k: int, where: Filter, settings: OpenSearchSettings) -> dict[str, Any]:
    """Approximate nearest neighbours; the graph is walked among the posts that match."""
    question: dict[str, Any] = {"vector": vector, "k": k}
    query = matching(where)
    if "match_all" not in query:
        question["filter"] = query
    question["method_parameters"] = {"ef_search": max(settings.ef_search, 2 * k)}
    return {"knn": {"vector": question}}


def by_scan(vector: list[float], where: Filter) -> dict[str, Any]:
    """Script Score k-NN: the inner product with each post that matches."""
    script = {
        "lang": "knn",
        "source": "knn_score",
        "params": {"field": "vector", "query_value": vector, "space_type": "innerproduct"},
    }
    return {"script_score": {"query": matching(where), "script": script}}


def inner_product(score: float) -> float:
    """Scores are d + 1 for d ≥ 0, and 1 / (1 - d) for d < 0, in float32."""
    return float(np.float32(score - 1 if score >= 1 else 1 - 1 / score))


def _vector(dim: int, settings: OpenSearchSettings) -> dict[str, Any]:
    parameters = {"m": settings.m, "ef_construction": settings.ef_construction}
    method = {
        "name": "hnsw",
        "engine": settings.engine,
        "space_type": "innerproduct",
        "parameters": parameters,
    }
    return {"type": "knn_vector", "dimension": dim, "method": method}
