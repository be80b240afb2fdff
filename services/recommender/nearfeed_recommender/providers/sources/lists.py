"""Lists that were made before: by a model for each reader, or by editors for all."""

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import EVERYBODY, ListsSource, PicksSource
from nearfeed_recommender.models.lists import Lists
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.providers.sources.allowed import SPARE, allowed
from nearfeed_recommender.readers.resets import began_anew_at
from nearfeed_runtime.sql import reading


def from_lists(serving: Serving, request: Request, source: ListsSource, audience: Audience) -> list[Hit]:
    """The reader's own list, or everybody's: so for one who began anew since the run's last reading."""
    model: Lists = serving.models.get(source.model)
    owner = EVERYBODY if _is_void(serving, request, model) else request.user_id
    return allowed(serving, audience, model.of(owner, source.limit * SPARE), source.limit)


def _is_void(serving: Serving, request: Request, model: Lists) -> bool:
    if not model.has(request.user_id):
        return False
    with reading(serving.engine) as connection:
        return began_anew_at(connection, serving.secret, request.user_id) >= model.data_last


def from_picks(serving: Serving, _: Request, source: PicksSource, audience: Audience) -> list[Hit]:
    """In the editors' order."""
    hits = [Hit(item, 1 / rank) for rank, item in enumerate(source.items, start=1)]
    return allowed(serving, audience, hits, source.limit)
