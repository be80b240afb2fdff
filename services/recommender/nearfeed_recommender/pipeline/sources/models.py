"""Models in memory: item-to-item lists, random walks, lists made before for each user, editors' picks."""

from typing import TYPE_CHECKING

from nearfeed_contracts.vector_store import Hits
from nearfeed_recommender.config.schema import (
    EVERYBODY,
    ListsSource,
    NeighboursSource,
    PicksSource,
    WalkSource,
)
from nearfeed_recommender.models.lists import Lists
from nearfeed_recommender.models.neighbours import Neighbours
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.pipeline.candidates import Found
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.search import first_eligible
from nearfeed_recommender.pipeline.sources.source import SPARE, by_rank, eligible_hits
from nearfeed_recommender.users.eligibility import Eligibility

if TYPE_CHECKING:
    from nearfeed_recommender.models.walk_graph import WalkGraph


class ItemToItem:
    """The posts whose similarities to the last ones that the user engaged with add up to most."""

    waits = False

    def __init__(self, spec: NeighboursSource, models: Registry) -> None:
        self._spec, self._models = spec, models

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        model: Neighbours = self._models.get(self._spec.model)
        last = query.last_weighed(self._spec.readings)
        limit = self._spec.limit
        found = model.closest(last, limit * SPARE, exclude=seen_ids(eligible))
        return eligible_hits(Hits.of(found), eligible, limit)


class RandomWalk:
    """The posts that walks from the last ones that the user engaged with visit most."""

    waits = True

    def __init__(self, spec: WalkSource, models: Registry) -> None:
        self._spec, self._models = spec, models

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        graph: WalkGraph = self._models.get(self._spec.model)
        spec = self._spec
        found = graph.recommend(
            query.last_weighed(spec.readings),
            limit=spec.limit * SPARE,
            steps=spec.steps,
            restart=spec.restart,
            enough_posts=spec.enough_posts,
            enough_visits=spec.enough_visits,
            exclude=seen_ids(eligible),
        )
        return eligible_hits(Hits.of(found), eligible, spec.limit)


class UserLists:
    """The user's own list, or everybody's: so for one who was reset since the run's last interaction."""

    waits = False

    def __init__(self, spec: ListsSource, models: Registry) -> None:
        self._spec, self._models = spec, models

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        model: Lists = self._models.get(self._spec.model)
        void = query.state.reset_at >= model.data_last
        owner = EVERYBODY if void else query.state.user_id
        return eligible_hits(Hits.of(model.of(owner, self._spec.limit * SPARE)), eligible, self._spec.limit)


class Picks:
    """Posts in the editors' order."""

    waits = False

    def __init__(self, spec: PicksSource) -> None:
        self._spec = spec

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        rows = query.columns.rows_of(self._spec.items)
        found = by_rank(rows)
        return first_eligible(found.rows, found.scores, eligible, self._spec.limit)


def seen_ids(eligible: Eligibility) -> frozenset[str]:
    """What a model need not give, for it would be left out."""
    return eligible.search_filter.exclude_item_ids if "seen" in eligible.filters else frozenset()
