"""The feed: one filtered similarity search with the reader's vector, then pages of it.

Read `first_page` and `next_page` from the top; every step is a function below or in a module beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import active_space_name, item_contexts
from nearfeed_contracts.vector_store import Filter, StoreUnavailableError, UnknownSpaceError, VectorStore
from nearfeed_recommender.blending import interleave, reserve_places
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.pages import (
    Entry,
    Ranking,
    keep_ranking,
    kept_ranking,
    new_request_id,
    read_cursor,
    sign_cursor,
)
from nearfeed_recommender.popularity import Popularity
from nearfeed_recommender.posts import (
    Audience,
    Post,
    audience_of,
    has_posts_since,
    latest_posts,
    posts_by_id,
    visible_posts,
)
from nearfeed_recommender.profiles import Profile, Vector, load_profile
from nearfeed_recommender.reasons import Reason, closest_readings, reason_for
from nearfeed_recommender.user_vectors import Pooling, live_spaces, stored_vector
from nearfeed_runtime.sql import committed, reading

logger = structlog.get_logger(__name__)
NEW_POST_EVERY = 5
_BY_VECTOR = ("personal", "new")
FEEDS = Counter("nearfeed_feeds_total", "Feed answers.", ["source", "degraded"])


@dataclass(frozen=True)
class FeedSources:
    """Where the feed takes from, and how much."""

    engine: Engine
    store: VectorStore
    breaker: StoreBreaker
    popularity: Popularity
    pooling: Pooling
    secret: bytes
    depth: int
    page_ttl_micros: int
    new_micros: int


@dataclass(frozen=True)
class ShownPost:
    """A post in an answer, with its score, where it comes from and why it is there."""

    post: Post
    score: float
    source: str
    reason: Reason


@dataclass(frozen=True)
class FeedPage:
    """One answer of the feed."""

    request_id: str
    space: str | None
    degraded: bool
    next_cursor: str | None
    items: list[ShownPost]


def first_page(
    sources: FeedSources, user_id: str, limit: int, wanted: frozenset[str], published_after: int | None
) -> FeedPage:
    """Ranks for the reader, keeps the ranking for the pages to come, and shows its first page."""
    with reading(sources.engine) as connection:
        audience = audience_of(connection, user_id, wanted, published_after)
        space = active_space_of(connection)
        profile = _profile_of(sources, connection, space, user_id)
        entries, degraded = _rank(sources, connection, audience, space, profile)
        ranking = Ranking(
            new_request_id(), user_id, space, degraded, tuple(sorted(wanted)), published_after, entries
        )
        page = _show(sources, connection, ranking, audience, profile, 0, limit)
    if page.next_cursor:
        committed(sources.engine, lambda kept: keep_ranking(kept, ranking, sources.page_ttl_micros))
    FEEDS.labels(entries[0].source if entries else "none", str(degraded).lower()).inc()
    return page


def next_page(sources: FeedSources, user_id: str, cursor: str, limit: int) -> FeedPage:
    """Goes on where the cursor points. Raises InvalidCursorError and ExpiredCursorError."""
    request_id, position = read_cursor(sources.secret, user_id, cursor)
    with reading(sources.engine) as connection:
        ranking = kept_ranking(connection, request_id, sources.page_ttl_micros)
        audience = audience_of(connection, user_id, frozenset(ranking.communities), ranking.published_after)
        profile = _profile_of(sources, connection, ranking.space, user_id)
        return _show(sources, connection, ranking, audience, profile, position, limit)


def active_space_of(connection: Connection) -> str | None:
    """The space that is served; None before the first activation."""
    return connection.scalar(select(active_space_name()))


def _profile_of(
    sources: FeedSources, connection: Connection, space: str | None, user_id: str
) -> Profile | None:
    if space is None:
        return None
    return load_profile(connection, sources.pooling.cache, sources.pooling.rule, space, user_id)


def _rank(
    sources: FeedSources,
    connection: Connection,
    audience: Audience,
    space: str | None,
    profile: Profile | None,
) -> tuple[tuple[Entry, ...], bool]:
    """The ranking, and whether it is a fallback for a personal one that could not be made."""
    vector = _reader_vector(connection, space, profile, audience.user_id)
    if space is None or vector is None:
        has_readings = space is None and bool(audience.seen)
        return _popular_and_latest(sources, connection, audience), has_readings
    try:
        return _personal(sources, connection, audience, space, vector), False
    except (StoreUnavailableError, UnknownSpaceError) as error:
        logger.warning("feed degraded", space=space, error=str(error))
        return _popular_and_latest(sources, connection, audience), True


def _personal(
    sources: FeedSources, connection: Connection, audience: Audience, space: str, vector: Vector
) -> tuple[Entry, ...]:
    """One filtered search, and where there are new posts another among them, for the places kept for them."""
    filters = {"personal": audience.filter()}
    since = max(now_micros() - sources.new_micros, audience.published_after or 0)
    if has_posts_since(connection, audience, since):
        filters["new"] = replace(filters["personal"], published_after=since)
    found = sources.breaker.ask(partial(_search, sources, space, vector, filters))
    return tuple(reserve_places(found["personal"], found.get("new", ()), NEW_POST_EVERY)[: sources.depth])


def _search(
    sources: FeedSources, space: str, vector: Vector, filters: Mapping[str, Filter]
) -> dict[str, list[Entry]]:
    """The entries of each source."""
    hits = {
        source: sources.store.search(space, vector, sources.depth, where) for source, where in filters.items()
    }
    return {source: [Entry(*hit, source) for hit in found] for source, found in hits.items()}


def _reader_vector(
    connection: Connection, space: str | None, profile: Profile | None, user_id: str
) -> Vector | None:
    """The stored vector, or one computed now where it is stale or missing."""
    if space is None or profile is None or not profile.item_ids:
        return None
    stored = stored_vector(connection, space, user_id)
    return stored if stored is not None else profile.vector(live_spaces(connection)[space])


def _popular_and_latest(
    sources: FeedSources, connection: Connection, audience: Audience
) -> tuple[Entry, ...]:
    popular = _entries(sources.popularity.top(audience, sources.depth), "popular")
    latest = _entries(latest_posts(connection, audience, sources.depth), "latest")
    return tuple(interleave(popular, latest)[: sources.depth])


def _entries(ids: Sequence[str], source: str) -> list[Entry]:
    return [Entry(item, 1 / rank, source) for rank, item in enumerate(ids, start=1)]


def _show(
    sources: FeedSources,
    connection: Connection,
    ranking: Ranking,
    audience: Audience,
    profile: Profile | None,
    position: int,
    limit: int,
) -> FeedPage:
    """The page from `position` on: posts that may not be seen are passed over, the page is filled up."""
    shown: list[tuple[Entry, Post]] = []
    while position < len(ranking.entries) and len(shown) < limit:
        batch = ranking.entries[position : position + limit - len(shown)]
        posts = visible_posts(connection, audience, [entry.item_id for entry in batch])
        shown += [(entry, posts[entry.item_id]) for entry in batch if entry.item_id in posts]
        position += len(batch)
    more = position < len(ranking.entries)
    cursor = sign_cursor(sources.secret, audience.user_id, ranking.request_id, position) if more else None
    items = _with_reasons(sources, connection, ranking.space, profile, shown)
    return FeedPage(ranking.request_id, ranking.space, ranking.degraded, cursor, items)


def _with_reasons(
    sources: FeedSources,
    connection: Connection,
    space: str | None,
    profile: Profile | None,
    shown: Sequence[tuple[Entry, Post]],
) -> list[ShownPost]:
    personal = [entry.item_id for entry, _ in shown if entry.source in _BY_VECTOR]
    closest: dict[str, str] = {}
    if space and profile and personal:
        closest = closest_readings(profile, _contexts(sources, connection, space, personal))
    read = posts_by_id(connection, set(closest.values()))
    reasons = [reason_for(entry.source, post, read.get(closest.get(post.id, ""))) for entry, post in shown]
    return [
        ShownPost(post, entry.score, entry.source, reason)
        for (entry, post), reason in zip(shown, reasons, strict=True)
    ]


def _contexts(
    sources: FeedSources, connection: Connection, space: str, ids: Sequence[str]
) -> dict[str, Vector]:
    query = select(item_contexts.c.item_id, item_contexts.c.change_id).where(
        item_contexts.c.space == space,
        item_contexts.c.item_id.in_(ids),
        item_contexts.c.context.is_not(None),
    )
    changes = [(row.item_id, row.change_id) for row in connection.execute(query)]
    return sources.pooling.cache.contexts_of(connection, space, changes)
