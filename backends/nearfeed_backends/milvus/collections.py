"""The Milvus collections behind spaces.

A space is one collection with a FLAT index, which scans the posts that a filter leaves. A server
keeps a second collection beside it with an HNSW graph, since Milvus 2.3 has one index per collection.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pymilvus import DataType, MilvusClient

from nearfeed_backends.space_names import SpaceNames
from nearfeed_contracts.fields import MAX_ID

_GRAPH = "_graph"
_SPACE = "nearfeed.space"
# Milvus counts bytes; a character takes up to four.
_MAX_ID_BYTES = 4 * MAX_ID
_FLAT = {"index_type": "FLAT", "metric_type": "IP"}
_FILTER_INDEXES = {"community_id": "Trie", "author_id": "Trie", "published_at": "STL_SORT"}


def graph_name(collection: str) -> str:
    """The collection with the graph of the same posts."""
    return collection + _GRAPH


def hnsw(m: int, ef_construction: int) -> dict[str, Any]:
    """The index of a graph: `m` neighbours a node, chosen among `ef_construction`."""
    return {"index_type": "HNSW", "metric_type": "IP", "params": {"M": m, "efConstruction": ef_construction}}


def create_collection(
    client: MilvusClient, name: str, space: str, dim: int, graph: dict[str, Any] | None
) -> None:
    """Makes and loads the collections of a space, as far as they are missing; `name` is the exact one's.

    `graph` is the index of the second collection; None: there is none, and filters have no index.
    """
    if graph is None:
        _create(client, name, space, dim, "Strong")
        load_collection(client, name)
        return
    collections = {graph_name(name): graph, name: _FLAT}
    # The exact one last, as it is the one that says that the space exists.
    for collection, vector_index in collections.items():
        if not client.has_collection(collection):
            _create(client, collection, space, dim, "Bounded")
        if not client.list_indexes(collection):
            _add_indexes(client, collection, vector_index, _FILTER_INDEXES)
    with ThreadPoolExecutor() as threads:
        list(threads.map(client.load_collection, collections))


def drop_collection(client: MilvusClient, collection: str, *, with_graph: bool) -> None:
    """Removes the collections of a space."""
    client.drop_collection(collection)
    if with_graph:
        client.drop_collection(graph_name(collection))


def load_collection(client: MilvusClient, name: str) -> None:
    """Makes an exact collection searchable, also one whose making was broken off."""
    if not client.list_indexes(name):
        _add_indexes(client, name, _FLAT, {})
    client.load_collection(name)


def space_collections(client: MilvusClient, names: SpaceNames, **options: Any) -> set[str]:
    """The exact collections of all spaces of an installation."""
    return {name for name in client.list_collections(**options) if names.has(name)}


def space_and_dim(client: MilvusClient, collection: str, **options: Any) -> tuple[str, int]:
    """The space and the dimension of a collection."""
    description = client.describe_collection(collection, **options)
    [vector] = [field for field in description["fields"] if field["name"] == "vector"]
    return str(description["properties"][_SPACE]), int(vector["params"]["dim"])


def _create(client: MilvusClient, name: str, space: str, dim: int, consistency: str) -> None:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("item_id", DataType.VARCHAR, is_primary=True, max_length=_MAX_ID_BYTES)
    schema.add_field("community_id", DataType.VARCHAR, max_length=_MAX_ID_BYTES)
    schema.add_field("author_id", DataType.VARCHAR, max_length=_MAX_ID_BYTES)
    schema.add_field("published_at", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    client.create_collection(name, schema=schema, consistency_level=consistency, properties={_SPACE: space})


def _add_indexes(
    client: MilvusClient, name: str, vector_index: dict[str, Any], filter_indexes: dict[str, str]
) -> None:
    indexes = MilvusClient.prepare_index_params()
    for field, kind in filter_indexes.items():
        indexes.add_index(field, index_type=kind)
    indexes.add_index("vector", **vector_index)
    client.create_index(name, indexes, sync=False)
