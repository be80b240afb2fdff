"""The Milvus collections behind spaces."""

import hashlib

from pymilvus import DataType, MilvusClient

from nearfeed_contracts.fields import MAX_ID

_PREFIX = "nearfeed_"
_SPACE = "nearfeed.space"
# Milvus counts bytes; a character takes up to four.
_MAX_ID_BYTES = 4 * MAX_ID


def collection_name(space: str) -> str:
    """A name of the letters that Milvus allows; the space's own is a property of the collection."""
    return _PREFIX + hashlib.sha256(space.encode()).hexdigest()


def create_collection(client: MilvusClient, space: str, dim: int) -> str:
    """Makes and loads the empty collection of a space; returns its name."""
    name = collection_name(space)
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("item_id", DataType.VARCHAR, is_primary=True, max_length=_MAX_ID_BYTES)
    schema.add_field("community_id", DataType.VARCHAR, max_length=_MAX_ID_BYTES)
    schema.add_field("author_id", DataType.VARCHAR, max_length=_MAX_ID_BYTES)
    schema.add_field("published_at", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    client.create_collection(name, schema=schema, consistency_level="Strong", properties={_SPACE: space})
    load_collection(client, name)
    return name


def load_collection(client: MilvusClient, name: str) -> None:
    """Makes a collection searchable, also one whose making was broken off."""
    if not client.list_indexes(name):
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        client.create_index(name, index, sync=False)
    client.load_collection(name)


def space_collections(client: MilvusClient) -> set[str]:
    """The names of all collections that are spaces."""
    return {name for name in client.list_collections() if name.startswith(_PREFIX)}


def space_and_dim(client: MilvusClient, collection: str) -> tuple[str, int]:
    """The space and the dimension of a collection."""
    description = client.describe_collection(collection)
    [vector] = [field for field in description["fields"] if field["name"] == "vector"]
    return str(description["properties"][_SPACE]), int(vector["params"]["dim"])
