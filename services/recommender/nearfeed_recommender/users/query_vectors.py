"""A user's vector: the one that SQL keeps where it is true, or one that is computed from the state."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Engine

from nearfeed_contracts.runs import Block
from nearfeed_core.engagements import weights_of_rows
from nearfeed_core.pooling import NEWEST_READINGS, pool_reader
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.catalog.spaces import blocks_of
from nearfeed_recommender.users.state import UserState, Vector
from nearfeed_runtime.sql import read_connection


class UserVectors:
    """The vectors of users by space (dim float32). Thread-safe."""

    def __init__(self, engine: Engine, embeddings: Embeddings) -> None:
        self._engine, self._embeddings = engine, embeddings
        self._blocks: dict[tuple[str, int], tuple[Block, ...]] = {}

    def of(self, state: UserState, space: str) -> Vector | None:
        """None for a user without a counting interaction in the space."""
        if not len(state.counting):
            return None
        if space not in state.vectors:
            blocks = self._blocks_of(space)
            state.vectors[space] = self._computed(state, space, blocks) if blocks else None
        return state.vectors[space]

    def _computed(self, state: UserState, space: str, blocks: Sequence[Block]) -> Vector | None:
        """From the newest 512 counting interactions with posts that the space has, as the consumer does."""
        places = state.counting
        found = self._embeddings.of(space, state.rows[places[: 2 * NEWEST_READINGS]])
        if len(found.vectors) < NEWEST_READINGS < len(places) / 2:
            found = self._embeddings.of(space, state.rows[places])
        kept = places[: len(found.known)][found.known][:NEWEST_READINGS]
        weights = weights_of_rows(state.engagements.counting[kept], state.rule)
        if not weights.any():
            return None
        return pool_reader(found.vectors[:NEWEST_READINGS], weights.tolist(), blocks).astype(np.float32)

    def _blocks_of(self, space: str) -> tuple[Block, ...] | None:
        key = space, self._embeddings.created_at(space)
        blocks = self._blocks.get(key)
        if blocks is None:
            with read_connection(self._engine) as connection:
                blocks = blocks_of(connection, space)
            if blocks is not None:
                self._blocks[key] = blocks
        return blocks
