"""The query of a response: one user, loaded once, in one space; and what loads it."""

from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy import Engine

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.catalog.catalog import Catalog
from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.catalog.spaces import require_space
from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.users.eligibility import Eligibility, Wish
from nearfeed_recommender.users.state import UserState
from nearfeed_recommender.users.states import UserStates, read_freshness
from nearfeed_runtime.sql import read_connection


@dataclass(frozen=True)
class Query:
    """`space` is the one that the response keeps to, None before the first; `now` is in microseconds."""

    state: UserState
    wish: Wish
    space: str | None
    now: int

    @property
    def columns(self) -> Columns:
        return self.state.columns

    def last(self, count: int) -> Rows:
        """Rows of the newest `count` posts that the user has engaged with."""
        return self.state.newest[0][:count]

    def last_weighed(self, count: int) -> list[tuple[str, float]]:
        """Ids and weights of these."""
        rows, weights = self.state.newest
        ids = self.columns.ids
        return [
            (ids[row], weight)
            for row, weight in zip(rows[:count].tolist(), weights[:count].tolist(), strict=True)
        ]

    def eligibility(self, filters: tuple[Filter, ...]) -> Eligibility:
        """What the user may and wants to see under the named filters; made once for each."""
        made = self._made.get(filters)
        if made is None:
            made = self._made[filters] = Eligibility(self.state, self.wish, filters)
        return made

    @cached_property
    def _made(self) -> dict[tuple[Filter, ...], Eligibility]:
        return {}


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
            state = self._states.read(self._engine, user_id)
        self._embeddings.follow(fresh.embeddings)
        return Query(state, wish, fresh.space, now_micros())

    def query_in(self, user_id: str, space: str) -> Query:
        """The same in a space that need not be active. Raises NoSuchSpaceError."""
        with read_connection(self._engine) as connection:
            require_space(connection, space)
        return replace(self.query(user_id), space=space)

    def follow_posts(self) -> None:
        """Takes in posts that were written since the request began."""
        self._catalog.follow()
