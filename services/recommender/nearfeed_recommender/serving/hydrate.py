"""From a user's id to the query of a response: one point read where memory is fresh."""

from dataclasses import replace

from sqlalchemy import Engine

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.catalog.catalog import Catalog
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.catalog.spaces import require_space
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.users.eligibility import Wish
from nearfeed_recommender.users.freshness import read_freshness
from nearfeed_recommender.users.states import UserStates
from nearfeed_runtime.sql import reading

NO_WISH = Wish()
ANYONE = ""
"""The id of nobody: a user who has done nothing."""


class Hydrator:
    """Brings what this process has in memory to the state of SQL that a request begins with. Thread-safe."""

    def __init__(self, engine: Engine, catalog: Catalog, states: UserStates, embeddings: Embeddings) -> None:
        self._engine, self._catalog, self._states = engine, catalog, states
        self._embeddings = embeddings

    def query(self, user_id: str, wish: Wish = NO_WISH) -> Query:
        """The user as SQL, and events that this process has accepted, have them; in the active space."""
        fresh = read_freshness(self._engine, user_id, self._states.hash_of(user_id))
        if fresh.items > self._catalog.change_id:
            self.follow_posts()
        state = self._states.kept(user_id, fresh.revision)
        if state is None:
            with reading(self._engine) as connection:
                state = self._states.read(connection, user_id)
        self._embeddings.follow(fresh.embeddings)
        return Query(state, wish, fresh.space, now_micros())

    def query_in(self, user_id: str, space: str) -> Query:
        """The same in a space that need not be active. Raises NoSuchSpaceError."""
        with reading(self._engine) as connection:
            require_space(connection, space)
        return replace(self.query(user_id), space=space)

    def follow_posts(self) -> None:
        """Takes in posts that were written since the request began."""
        self._catalog.follow()
