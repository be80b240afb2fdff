"""Vectors of candidates for slate rules, from SQL's side: the contexts, which are cached."""

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Connection, select

from nearfeed_contracts.tables import item_contexts
from nearfeed_recommender.profiles import Vector
from nearfeed_recommender.providers.candidates import Candidate
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.user_vectors import Pooling
from nearfeed_runtime.sql import chunks, reading

_MOST = 500


def unit_contexts(
    serving: Serving, request: Request, model: str, candidates: Sequence[Candidate]
) -> Mapping[str, Vector]:
    """Unit vectors (dim) of the first 500 candidates that have one in the model's space."""
    space = serving.models.space_of(model) or request.space
    if space is None or not candidates:
        return {}
    with reading(serving.engine) as connection:
        found = contexts_of(
            serving.pooling, connection, space, [candidate.item_id for candidate in candidates[:_MOST]]
        )
    return {item: vector / (np.linalg.norm(vector) or 1.0) for item, vector in found.items()}


def contexts_of(
    pooling: Pooling, connection: Connection, space: str, ids: Sequence[str]
) -> dict[str, Vector]:
    """The contexts (dim) of those posts that have one in the space."""
    changes: list[tuple[str, int]] = []
    for chunk in chunks(ids):
        query = select(item_contexts.c.item_id, item_contexts.c.change_id).where(
            item_contexts.c.space == space,
            item_contexts.c.item_id.in_(chunk),
            item_contexts.c.context.is_not(None),
        )
        changes += [(row.item_id, row.change_id) for row in connection.execute(query)]
    return pooling.cache.contexts_of(connection, space, changes)
