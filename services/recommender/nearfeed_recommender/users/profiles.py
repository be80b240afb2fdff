"""What a user's vector in one space is made of: their newest interactions with input embeddings.

All of it comes from SQL; the vector database is asked only to search.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from nearfeed_contracts.events import Control
from nearfeed_contracts.runs import Block
from nearfeed_contracts.tables import reader_controls
from nearfeed_core.engagements import Values, weights_of_rows
from nearfeed_core.pooling import NEWEST_READINGS, pool_reader
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.catalog.embeddings import Embeddings, last_change
from nearfeed_recommender.users.newest import NewestInteractions, newest_interactions
from nearfeed_runtime.sql import chunks

Vector = NDArray[np.float32]
UNWANTED: tuple[Control, ...] = ("hide", "less")
"""The controls whose targets are posts: not shown, and their interactions do not count."""
_FIRST_LOOK = NEWEST_READINGS + NEWEST_READINGS // 4
_FURTHER = 4


@dataclass(frozen=True)
class Pooling:
    """What it takes to compute users' vectors: the weights, and the input embeddings in memory."""

    rule: WeightRule
    embeddings: Embeddings


@dataclass(frozen=True)
class Profile:
    """The newest interactions of a user that count: rows of their posts in `columns` (n), weights (n), and
    contexts (n, dim) float32.
    """

    columns: Columns
    rows: Rows
    weights: Values
    contexts: Vector

    @property
    def item_ids(self) -> list[str]:
        """The ids of the posts (n)."""
        return [self.columns.ids[row] for row in self.rows.tolist()]

    def vector(self, blocks: Sequence[Block]) -> Vector | None:
        """The user's vector (dim) float32; None where no interaction has a weight."""
        if not self.weights.any():
            return None
        return pool_reader(self.contexts, self.weights, blocks).astype(np.float32)


def load_profile(connection: Connection, pooling: Pooling, space: str, user_id: str) -> Profile:
    """The profile of one user, as `load_profiles` reads it."""
    return dict(load_profiles(connection, pooling, space, [user_id]))[user_id]


def load_profiles(
    connection: Connection, pooling: Pooling, space: str, user_ids: Collection[str]
) -> Iterator[tuple[str, Profile]]:
    """Each user with their newest 512 counting interactions with posts that have a context in the space.

    Those of before a reset, and of posts that the user has hidden or wants less of, do not count.
    """
    pooling.embeddings.follow(last_change(connection))
    unwanted = _unwanted(connection, pooling, user_ids)
    left, most = sorted(user_ids), _FIRST_LOOK
    while left:
        short = []
        for user_id, found in newest_interactions(connection, pooling.embeddings.columns, left, most):
            profile = _profile(pooling, space, found, unwanted.get(user_id))
            if len(profile.rows) < NEWEST_READINGS and not found.whole:
                short.append(user_id)
            else:
                yield user_id, profile
        left, most = short, most * _FURTHER


def _profile(pooling: Pooling, space: str, found: NewestInteractions, unwanted: Rows | None) -> Profile:
    rows, counting = found.rows, found.counting
    if unwanted is not None:
        wanted = ~np.isin(rows, unwanted)
        rows, counting = rows[wanted], counting[wanted]
    embedded = pooling.embeddings.of(space, rows)
    places = np.flatnonzero(embedded.known)[:NEWEST_READINGS]
    weights = weights_of_rows(counting[places], pooling.rule)
    return Profile(pooling.embeddings.columns, rows[places], weights, embedded.vectors[:NEWEST_READINGS])


def _unwanted(connection: Connection, pooling: Pooling, user_ids: Collection[str]) -> Mapping[str, Rows]:
    """Of users who have set such controls, the rows of the posts that these are on."""
    targets: dict[str, list[str]] = {}
    for chunk in chunks(sorted(user_ids)):
        query = select(reader_controls.c.user_id, reader_controls.c.target).where(
            reader_controls.c.user_id.in_(chunk), reader_controls.c.control.in_(UNWANTED)
        )
        for user_id, target in connection.execute(query):
            targets.setdefault(user_id, []).append(target)
    reserve = pooling.embeddings.columns.reserve
    return {user_id: reserve(items) for user_id, items in targets.items()}
