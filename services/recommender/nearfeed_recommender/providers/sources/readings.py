"""Models in memory that start from what the reader has read: item-to-item lists, and random walks."""

from typing import TYPE_CHECKING

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import NeighboursSource, WalkSource
from nearfeed_recommender.models.neighbours import Neighbours
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.providers.sources.allowed import SPARE, allowed

if TYPE_CHECKING:
    from nearfeed_recommender.models.walk_graph import WalkGraph


def from_neighbours(
    serving: Serving, request: Request, source: NeighboursSource, audience: Audience
) -> list[Hit]:
    """The posts whose similarities to the last readings add up to most."""
    model: Neighbours = serving.models.get(source.model)
    readings = request.readings[: source.readings]
    return allowed(
        serving, audience, model.closest(readings, source.limit * SPARE, exclude=audience.seen), source.limit
    )


def from_walk(serving: Serving, request: Request, source: WalkSource, audience: Audience) -> list[Hit]:
    """The posts that walks from the last readings visit most."""
    graph: WalkGraph = serving.models.get(source.model)
    found = graph.recommend(
        request.readings[: source.readings],
        limit=source.limit * SPARE,
        steps=source.steps,
        restart=source.restart,
        enough_posts=source.enough_posts,
        enough_visits=source.enough_visits,
        exclude=audience.seen,
    )
    return allowed(serving, audience, found, source.limit)
