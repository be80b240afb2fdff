"""Searches in the vector store: with the user's vector, and with those of what they engaged with last."""

import numpy as np

from nearfeed_contracts.errors import ConflictError
from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.catalog.spaces import StoredVectors
from nearfeed_recommender.config.schema import SimilarSource, VectorsSource
from nearfeed_recommender.infra.breaker import StoreBreaker
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.pipeline.candidates import NOTHING, Found
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.search import Search
from nearfeed_recommender.users.eligibility import Eligibility
from nearfeed_recommender.users.query_vectors import UserVectors


class NoSpaceError(ConflictError):
    """There is no space to search in, though there are engagements."""


def space_of(query: Query, named: str | None) -> str | None:
    """The space of a source; None where nothing can be found, for the user has met no post either."""
    space = named or query.space
    if space is None and len(query.state.seen):
        raise NoSpaceError("no space is active yet: load a run with `nearfeed load RUN --activate`.")
    return space


class NearestToUser:
    """The posts closest to the user's vector; of those published within some hours, where they are named."""

    def __init__(
        self,
        spec: VectorsSource,
        search: Search,
        breaker: StoreBreaker,
        vectors: UserVectors,
        models: Registry,
    ) -> None:
        self._spec, self._search, self._breaker = spec, search, breaker
        self._vectors, self._models = vectors, models
        self.waits = breaker.waits

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        """One filtered search; nothing for a user without a vector."""
        space = space_of(query, self._models.space_of(self._spec.model))
        if space is None:
            return NOTHING
        if self._spec.hours is not None:
            since = query.now - int(self._spec.hours * HOUR_MICROS)
            eligible = eligible.since(since)
            if not len(eligible.newest_since(since, 1)):
                return NOTHING
        pooled = self._vectors.of(query.state, space)
        if pooled is None:
            return NOTHING
        tower = self._models.tower_of(space)
        vector = tower.query(pooled) if tower else pooled
        return self._breaker.ask(lambda: self._search.nearest(space, vector, eligible, self._spec.limit))


class SimilarToLast:
    """What is closest to each of the last posts that the user engaged with; a post has its best score."""

    def __init__(
        self,
        spec: SimilarSource,
        search: Search,
        stored: StoredVectors,
        breaker: StoreBreaker,
        models: Registry,
    ) -> None:
        self._spec, self._search, self._stored = spec, search, stored
        self._breaker, self._models = breaker, models
        self.waits = breaker.waits

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        """One search with the vectors of the last posts."""
        space = space_of(query, self._models.space_of(self._spec.model))
        last = query.last(self._spec.readings)
        if space is None or not len(last):
            return NOTHING
        eligible = eligible.excluding(last)
        return self._breaker.ask(lambda: self._nearest(space, query, last, eligible))

    def _nearest(self, space: str, query: Query, last: np.ndarray, eligible: Eligibility) -> Found:
        columns, limit = query.columns, self._spec.limit
        vectors = list(self._stored.of(space, last).values())
        if not vectors:
            return NOTHING
        found = self._search.nearest_to_each(space, vectors, eligible, limit)
        rows = np.concatenate([each.rows for each in found])
        scores = np.concatenate([each.scores for each in found])
        ids = [columns.ids[row] for row in rows.tolist()]
        order = np.array(sorted(range(len(ids)), key=lambda place: (-scores[place], ids[place])), np.intp)
        kept = order[np.sort(np.unique(rows[order], return_index=True)[1])[:limit]]
        return Found(rows[kept], scores[kept])
