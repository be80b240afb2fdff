"""What is popular, new, written by those whom the user follows, or by authors who have just begun."""

import numpy as np

from nearfeed_recommender.config.schema import FollowedSource, LatestSource, NewcomersSource, PopularSource
from nearfeed_recommender.pipeline.candidates import NOTHING, Found
from nearfeed_recommender.pipeline.new_creators import NewCreators
from nearfeed_recommender.pipeline.popularity import Popularity
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.sources.source import by_rank
from nearfeed_recommender.users.eligibility import Eligibility


class Popular:
    """The posts of the most users in the window."""

    waits = False

    def __init__(self, spec: PopularSource, popularity: Popularity) -> None:
        self._spec, self._popularity = spec, popularity

    def fetch(self, _: Query, eligible: Eligibility) -> Found:
        return by_rank(eligible.first(self._popularity.ranked(self._spec.days), self._spec.limit))


class Latest:
    """The newest posts."""

    waits = False

    def __init__(self, spec: LatestSource) -> None:
        self._spec = spec

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        return by_rank(eligible.first(query.columns.newest_first(), self._spec.limit))


class Followed:
    """The newest posts of authors whom the user follows."""

    waits = False

    def __init__(self, spec: FollowedSource) -> None:
        self._spec = spec

    def fetch(self, query: Query, eligible: Eligibility) -> Found:
        columns, followed = query.columns, query.state.controls.followed
        if not followed:
            return NOTHING
        newest = columns.newest_first()
        authors = columns.author[newest]  # before the mask, which then knows all of them
        theirs = columns.authors.members(followed)[authors]
        return by_rank(eligible.first(newest[np.flatnonzero(theirs)], self._spec.limit))


class FromNewCreators:
    """Posts of authors with few posts, the least shown first."""

    waits = False

    def __init__(self, spec: NewcomersSource, creators: NewCreators) -> None:
        self._spec, self._creators = spec, creators

    def fetch(self, _: Query, eligible: Eligibility) -> Found:
        return by_rank(eligible.first(self._creators.ranked(self._spec), self._spec.limit))
