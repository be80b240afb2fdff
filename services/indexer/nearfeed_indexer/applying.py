"""What the topics items and item-vectors do to posts, vectors and contexts."""

from functools import partial

from nearfeed_contracts.events import Item, ItemDeleted, ItemVector
from nearfeed_contracts.topics import ITEM_VECTORS, ITEMS
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_indexer.posts import mark_deleted, store_posts
from nearfeed_indexer.vectors import bury_vectors, store_vectors
from nearfeed_runtime.consume import Handlers

GROUP = "indexer"
TOPICS = (ITEMS.name, ITEM_VECTORS.name)


def handlers(store: VectorStore) -> Handlers:
    return {
        Item: [store_posts],
        ItemDeleted: [mark_deleted, partial(bury_vectors, store)],
        ItemVector: [partial(store_vectors, store)],
    }
