"""What is popular, new, written by those whom the reader follows, or by those who have just begun."""

from collections.abc import Sequence

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import FollowedSource, LatestSource, NewcomersSource, PopularSource
from nearfeed_recommender.posts import Audience, latest_posts
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_runtime.sql import reading


def from_popular(serving: Serving, _: Request, source: PopularSource, audience: Audience) -> list[Hit]:
    """The most read posts of the window."""
    return by_rank(serving.popularity.top(audience, source.limit, source.days))


def from_latest(serving: Serving, _: Request, source: LatestSource, audience: Audience) -> list[Hit]:
    """Newest first."""
    with reading(serving.engine) as connection:
        return by_rank(latest_posts(connection, audience, source.limit, serving.facts.of))


def from_followed(serving: Serving, _: Request, source: FollowedSource, audience: Audience) -> list[Hit]:
    """Newest first; nothing for a reader who follows nobody."""
    followed = audience.controls.followed
    if not followed:
        return []
    with reading(serving.engine) as connection:
        return by_rank(latest_posts(connection, audience, source.limit, serving.facts.of, followed))


def from_newcomers(serving: Serving, _: Request, source: NewcomersSource, audience: Audience) -> list[Hit]:
    """The least shown first."""
    return by_rank(serving.newcomers.top(audience, source))


def by_rank(ids: Sequence[str]) -> list[Hit]:
    """Hits that score 1 / rank."""
    return [Hit(item, 1 / rank) for rank, item in enumerate(ids, start=1)]
