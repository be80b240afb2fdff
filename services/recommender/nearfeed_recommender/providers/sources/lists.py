"""Lists that were made before: by a model for each reader, or by editors for all."""

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import ListsSource, PicksSource
from nearfeed_recommender.models.lists import Lists
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.providers.sources.allowed import SPARE, allowed


def from_lists(serving: Serving, request: Request, source: ListsSource, audience: Audience) -> list[Hit]:
    """The reader's own list, or everybody's."""
    model: Lists = serving.models.get(source.model)
    return allowed(serving, audience, model.of(request.user_id, source.limit * SPARE), source.limit)


def from_picks(serving: Serving, _: Request, source: PicksSource, audience: Audience) -> list[Hit]:
    """In the editors' order."""
    hits = [Hit(item, 1 / rank) for rank, item in enumerate(source.items, start=1)]
    return allowed(serving, audience, hits, source.limit)
