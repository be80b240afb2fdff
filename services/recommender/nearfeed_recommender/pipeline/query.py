"""What all stages of a response are asked: one user, once hydrated."""

from dataclasses import dataclass
from functools import cached_property

from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.users.eligibility import Eligibility, Wish
from nearfeed_recommender.users.state import UserState


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
