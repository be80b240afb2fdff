"""Less like this: demotes candidates like posts that a user wants less of, and drops the closest of them."""

import numpy as np

from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.pipeline.candidates import Candidates
from nearfeed_recommender.pipeline.diversity import Values, demoted_order, is_close, nearness, unit_vectors
from nearfeed_recommender.users.state import UserState

STEP = "less"
MOST = 64
"""So many of the posts that are wanted less of are looked at, the newest."""


class LessLikeThis:
    """By the input embeddings of a space."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def order(self, state: UserState, space: str | None, candidates: Candidates) -> Candidates:
        """Without candidates that are close to what the user wants less of, the others by `demoted_order`."""
        near = self._nearness(state, space, candidates.rows)
        far = ~is_close(near)
        order = demoted_order(near[far])
        placed = candidates.take(np.flatnonzero(far)[order])
        placed.mark(STEP, [place for place, before in enumerate(order) if place != before])
        return placed

    def close_rows(self, state: UserState, space: str | None, rows: Rows) -> Rows:
        """Those of `rows` (n) that are close to what the user wants less of; free where there is nothing."""
        return rows[is_close(self._nearness(state, space, rows))]

    def _nearness(self, state: UserState, space: str | None, rows: Rows) -> Values:
        less = state.controls.less[:MOST]
        if space is None or not len(rows) or not less:
            return np.full(len(rows), np.nan)
        unwanted = unit_vectors(self._embeddings, space, state.columns.reserve(less))
        return nearness(unit_vectors(self._embeddings, space, rows), unwanted)
