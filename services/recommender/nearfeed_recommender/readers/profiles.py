"""A reader in one space: their newest readings with contexts, and the vector that follows from them.

All of it comes from SQL; the vector database is asked only to search.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, func, select

from nearfeed_contracts.events import Control
from nearfeed_contracts.runs import Block
from nearfeed_contracts.tables import interactions, item_contexts, reader_controls
from nearfeed_core.pooling import NEWEST_READINGS, pool_reader
from nearfeed_core.readings import WeightRule, weights_of
from nearfeed_recommender.readers.resets import LONG_AGO, reset_of
from nearfeed_recommender.readers.rows import standing_reading
from nearfeed_runtime.sql import chunks

Vector = NDArray[np.float32]
UNWANTED: tuple[Control, ...] = ("hide", "less")
"""The controls whose targets are posts: not shown, and no readings."""


@dataclass(frozen=True)
class Profile:
    """The newest counting readings of a reader: ids (n), weights (n), contexts (n, dim) float32."""

    item_ids: tuple[str, ...]
    weights: tuple[float, ...]
    contexts: Vector

    def vector(self, blocks: Sequence[Block]) -> Vector | None:
        """The reader's vector (dim) float32; None where no reading has a weight."""
        if not any(self.weights):
            return None
        return pool_reader(self.contexts, self.weights, blocks).astype(np.float32)


class ContextCache:
    """Contexts by (space, item, change), bounded; a change of a context has a new key. Thread-safe."""

    def __init__(self, size: int = 100_000) -> None:
        self._contexts: LRUCache[tuple[str, str, int], Vector] = LRUCache(size)
        self._lock = threading.Lock()

    def contexts_of(
        self, connection: Connection, space: str, changes: Sequence[tuple[str, int]]
    ) -> dict[str, Vector]:
        """The contexts of items at the given change ids, those that still stand."""
        with self._lock:
            found = {item: self._contexts.get((space, item, change)) for item, change in changes}
        missing = [item for item, context in found.items() if context is None]
        loaded = _load_contexts(connection, space, missing)
        with self._lock:
            for item, (change, context) in loaded.items():
                self._contexts[(space, item, change)] = context
        return {
            item: context if context is not None else loaded[item][1]
            for item, context in found.items()
            if context is not None or item in loaded
        }


def load_profile(
    connection: Connection, cache: ContextCache, rule: WeightRule, space: str, user_id: str
) -> Profile:
    """The reader's newest 512 counting readings of posts that have a context in the space.

    Those of before a reset, and of posts that the reader has hidden or wants less of, do not count.
    """
    reset = reset_of(user_id)
    query = (
        select(interactions, item_contexts.c.change_id, reset.label("reset_at"))
        .join(item_contexts, item_contexts.c.item_id == interactions.c.item_id)
        .where(interactions.c.user_id == user_id, interactions.c.newest_at > func.coalesce(reset, LONG_AGO))
        .where(interactions.c.item_id.not_in(_unwanted(user_id)))
        .where(item_contexts.c.space == space, item_contexts.c.context.is_not(None))
        .order_by(interactions.c.newest_at.desc(), interactions.c.item_id)
        .limit(NEWEST_READINGS)
    )
    rows = connection.execute(query).mappings().all()
    contexts = cache.contexts_of(connection, space, [(row["item_id"], row["change_id"]) for row in rows])
    kept = [row for row in rows if row["item_id"] in contexts]
    weights = weights_of([standing_reading(row) for row in kept], rule)
    ids = tuple(row["item_id"] for row in kept)
    matrix = np.stack([contexts[item] for item in ids]) if ids else np.empty((0, 0), np.float32)
    return Profile(ids, tuple(weights), matrix)


def _unwanted(user_id: str) -> Select[tuple[str]]:
    return select(reader_controls.c.target).where(
        reader_controls.c.user_id == user_id, reader_controls.c.control.in_(UNWANTED)
    )


def _load_contexts(connection: Connection, space: str, ids: Sequence[str]) -> dict[str, tuple[int, Vector]]:
    loaded: dict[str, tuple[int, Vector]] = {}
    for chunk in chunks(ids):
        query = select(item_contexts.c.item_id, item_contexts.c.change_id, item_contexts.c.context).where(
            item_contexts.c.space == space,
            item_contexts.c.item_id.in_(chunk),
            item_contexts.c.context.is_not(None),
        )
        for item, change, blob in connection.execute(query):
            loaded[item] = (change, np.frombuffer(blob, dtype="<f4"))
    return loaded
