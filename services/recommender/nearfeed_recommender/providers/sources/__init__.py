"""Where candidates come from: one function a type of source."""

from collections.abc import Callable, Mapping
from typing import Any

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import (
    FollowedSource,
    LatestSource,
    ListsSource,
    NeighboursSource,
    NewcomersSource,
    PicksSource,
    PopularSource,
    SimilarSource,
    Source,
    SourceBase,
    VectorsSource,
    WalkSource,
)
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.providers.sources.fresh import (
    from_followed,
    from_latest,
    from_newcomers,
    from_popular,
)
from nearfeed_recommender.providers.sources.lists import from_lists, from_picks
from nearfeed_recommender.providers.sources.readings import from_neighbours, from_walk
from nearfeed_recommender.providers.sources.vectors import from_similar, from_vectors

Fetch = Callable[[Serving, Request, Any, Audience], list[Hit]]
FETCHES: Mapping[type[SourceBase], Fetch] = {
    VectorsSource: from_vectors,
    SimilarSource: from_similar,
    NeighboursSource: from_neighbours,
    WalkSource: from_walk,
    ListsSource: from_lists,
    PicksSource: from_picks,
    PopularSource: from_popular,
    LatestSource: from_latest,
    FollowedSource: from_followed,
    NewcomersSource: from_newcomers,
}


def fetch(serving: Serving, request: Request, source: Source, audience: Audience) -> list[Hit]:
    """Up to `source.limit` posts that the audience allows, best first."""
    return FETCHES[type(source)](serving, request, source, audience)
