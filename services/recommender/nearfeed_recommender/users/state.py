"""What a feed needs of a user, as one object that nothing changes.

It is true at a `revision` of the user in SQL: every transaction that changes any of it raises that number.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.events import KINDS, Interaction
from nearfeed_contracts.fields import to_micros
from nearfeed_core.engagements import Engagements, Values, engagements_of, merge_event, weights_of_rows
from nearfeed_core.pooling import NEWEST_READINGS
from nearfeed_core.ranking_inputs import ReaderInputs, WeighedPost, reader_of
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.catalog.columns import Columns, Mask, Rows
from nearfeed_recommender.users.memberships import Controls

Vector = NDArray[np.float32]
_NONE = Controls()
_BYTES = 2_000
_BYTES_OF_A_ROW = 12 * len(KINDS) + 250


@dataclass(frozen=True)
class UserState:
    """`rows` (n) are those of the posts that the user has interacted with, in the order of the posts' ids.

    `times` (n, kinds) and `ratings` (n) as in `nearfeed_core.engagements`, without what a reset has made
    void. `reset_at` is when the user was reset or erased last, in microseconds. `unit` is what experiments
    assign the user by. `vectors` keeps the user's vector by space once it is known (None: there is none).
    """

    user_id: str
    revision: int
    columns: Columns
    rule: WeightRule
    rows: Rows
    times: Values
    ratings: Values
    joined: frozenset[str] = frozenset()
    controls: Controls = _NONE
    reset_at: int = 0
    unit: str = ""
    vectors: dict[str, Vector | None] = field(default_factory=dict)

    @cached_property
    def engagements(self) -> Engagements:
        return engagements_of(self.times, self.ratings)

    @cached_property
    def counting(self) -> NDArray[np.intp]:
        """Places in `rows` of the interactions that count, newest first; of equals by id.

        Posts that the user has hidden or wants less of do not count.
        """
        newest = self.engagements.newest
        count = ~np.isnan(newest) & ~np.isin(self.rows, self._controlled)
        places = np.flatnonzero(count)
        return places[np.argsort(-newest[places], kind="stable")]

    @cached_property
    def newest(self) -> tuple[Rows, Values]:
        """Rows and weights of the newest 512 that count, newest first, of a weight above 0."""
        return self.weighed(self.counting[:NEWEST_READINGS])

    def weighed(self, places: NDArray[np.intp]) -> tuple[Rows, Values]:
        """Rows and weights (m) of those of some interactions whose weight is above 0."""
        weights = weights_of_rows(self.engagements.counting[places], self.rule)
        kept = weights > 0
        return self.rows[places[kept]], weights[kept]

    @cached_property
    def seen(self) -> Rows:
        """Rows (sorted) of the posts that the user has met."""
        return np.sort(self.rows[self.engagements.seen])

    @cached_property
    def unwanted(self) -> Rows:
        """Rows (sorted) of the posts that are never shown: turned down by an event or by a control."""
        return np.union1d(self.rows[self.engagements.excluded], self._controlled)

    @cached_property
    def seen_or_unwanted(self) -> Rows:
        return np.union1d(self.seen, self.unwanted)

    @cached_property
    def unwanted_ids(self) -> frozenset[str]:
        return self._ids(self.unwanted)

    @cached_property
    def seen_or_unwanted_ids(self) -> frozenset[str]:
        return self._ids(self.seen_or_unwanted)

    @cached_property
    def inputs(self) -> ReaderInputs:
        """The user as rankers know them, at time 0; of posts that are live now."""
        return reader_inputs(self)

    @property
    def bytes(self) -> int:
        """About what the state takes in memory."""
        controls = self.controls
        texts = len(self.joined) + len(controls.items) + len(controls.authors) + len(controls.tags)
        return _BYTES + _BYTES_OF_A_ROW * len(self.rows) + 200 * texts

    def with_events(self, events: Iterable[Interaction]) -> "UserState":
        """The state that the consumer will make of these events, by the same merge."""
        times, ratings = self.times.copy(), self.ratings.copy()
        rows = self.rows
        for event in events:
            at = to_micros(event.occurred_at)
            if at <= self.reset_at:
                continue
            row = int(self.columns.reserve([event.item_id])[0])
            place = self._place(rows, event.item_id)
            if place == len(rows) or rows[place] != row:
                rows = np.insert(rows, place, row)
                times = np.insert(times, place, np.nan, axis=0)
                ratings = np.insert(ratings, place, np.nan)
            ratings[place] = merge_event(times[place], ratings[place], event.kind, at, event.value)
        return replace(self, rows=rows, times=times, ratings=ratings, vectors={})

    def has(self, event: Interaction) -> bool:
        """Whether the event would change nothing: it is in the state, or void, or older than what is."""
        at = to_micros(event.occurred_at)
        if at <= self.reset_at:
            return True
        place = self._place(self.rows, event.item_id)
        if place == len(self.rows) or self.columns.ids[self.rows[place]] != event.item_id:
            return False
        times, rating = self.times[place].copy(), self.ratings[place]
        merged = merge_event(times, rating, event.kind, at, event.value)
        unchanged = np.array_equal(times, self.times[place], equal_nan=True)
        return bool(unchanged and (merged == rating or np.isnan([merged, rating]).all()))

    @cached_property
    def _controlled(self) -> Rows:
        return self.columns.reserve(sorted(self.controls.items))

    def _place(self, rows: Rows, item_id: str) -> int:
        ids = self.columns.ids
        return bisect_left(range(len(rows)), item_id, key=lambda place: ids[rows[place]])

    def _ids(self, rows: Rows) -> frozenset[str]:
        ids = self.columns.ids
        return frozenset(ids[row] for row in rows.tolist())


def is_among(rows: Rows, some: Rows) -> Mask:
    """Which of `rows` (n) are among `some`, which are sorted."""
    if not len(some):
        return np.zeros(len(rows), np.bool_)
    at = np.searchsorted(some, rows)
    at[at == len(some)] = 0
    return np.asarray(some[at] == rows)


def reader_inputs(state: UserState) -> ReaderInputs:
    """The shares of communities, authors and tags in the weights of the newest 512 that count."""
    columns = state.columns
    rows, weights = state.newest
    live: Sequence[bool] = columns.live[rows].tolist()
    posts = (
        WeighedPost(weight, facts.community_id, facts.author_id, facts.tags)
        for row, weight, alive in zip(rows.tolist(), weights.tolist(), live, strict=True)
        if alive and (facts := columns.facts_of(row))
    )
    return reader_of(0, posts)
