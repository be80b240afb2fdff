"""A reader's feed in a space that need not be active, looked at before it is."""

from nearfeed_recommender.answers.rankings import entries_of
from nearfeed_recommender.answers.showing import ShownPost, visible_from, with_reasons
from nearfeed_recommender.posts import audience_of
from nearfeed_recommender.providers.fetching import Fetches
from nearfeed_recommender.providers.pipeline import rank_by
from nearfeed_recommender.providers.request import open_request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.space_maps.making import require_space
from nearfeed_runtime.sql import reading


def preview_feed(serving: Serving, user_id: str, space: str, limit: int) -> list[ShownPost]:
    """What the feed would show first if the space were active; the ledger does not note it.

    Models of kind vectors that name a space keep to theirs. Raises NoSuchSpaceError.
    """
    config = serving.config.current.config
    with reading(serving.engine) as connection:
        require_space(connection, space)
        audience = audience_of(connection, user_id, frozenset(), None)
        request = open_request(serving, connection, audience, space)
        ranked = rank_by(serving, request, config, config.feed, Fetches(serving, request))
        entries = entries_of(ranked, explain=False)
        shown, _ = visible_from(connection, audience.relaxed(ranked.filters), entries, 0, limit)
        return with_reasons(serving, connection, request, shown)
