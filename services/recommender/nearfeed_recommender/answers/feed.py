"""The feed: what its provider ranks for a reader, then pages of it.

Read `first_page` and `next_page` from the top; every step is a function in a module beside.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter
from sqlalchemy import Connection

from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.answers.rankings import (
    Ranking,
    entries_of,
    keep_ranking,
    kept_ranking,
    read_cursor,
    sign_cursor,
)
from nearfeed_recommender.answers.showing import ShownPost, visible_from, with_reasons
from nearfeed_recommender.experiments.choosing import arms_of, choose, noted_fields, provider_of
from nearfeed_recommender.experiments.schema import FEED_PLACE
from nearfeed_recommender.ledger.notes import Answer, failure_noted, note_served
from nearfeed_recommender.ledger.request_ids import new_nonce, sign_request_id
from nearfeed_recommender.posts import audience_of
from nearfeed_recommender.providers.fetching import Fetches
from nearfeed_recommender.providers.inputs import Inputs
from nearfeed_recommender.providers.less import close_ones
from nearfeed_recommender.providers.pipeline import rank_by
from nearfeed_recommender.providers.request import Request, active_space_of, open_request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_runtime.sql import committed, reading

SECTION = "feed"
FEEDS = Counter("nearfeed_feeds_total", "Feed answers.", ["source", "degraded"])


@dataclass(frozen=True)
class FeedPage:
    """One answer of the feed; `failures` says which sources and steps it had to do without, and why."""

    request_id: str
    space: str | None
    provider: str
    failures: Mapping[str, str]
    next_cursor: str | None
    items: list[ShownPost]

    @property
    def degraded(self) -> bool:
        return bool(self.failures)


def first_page(
    serving: Serving,
    user_id: str,
    limit: int,
    wanted: frozenset[str],
    published_after: int | None,
    *,
    explain: bool = False,
) -> FeedPage:
    """Ranks for the reader, keeps the ranking for the pages to come, and shows its first page."""
    began, asked_at = time.perf_counter(), now_micros()
    now = serving.config.current
    with reading(serving.engine) as connection:
        audience = audience_of(connection, user_id, wanted, published_after)
        request = open_request(serving, connection, audience, active_space_of(connection))
        nonce = new_nonce()
        chosen = choose(serving, connection, now.config, request, nonce, [FEED_PLACE])
        assignment = chosen.get(FEED_PLACE)
        provider = provider_of(assignment, now.config.feed)
        request_id = sign_request_id(
            serving.secret, user_id, request.now, now.version, arms_of(chosen), nonce
        )
        answer = Answer(
            request_id, None, SECTION, provider, now.version, 0, began, **noted_fields(assignment, user_id)
        )
        with failure_noted(serving, request, answer):
            ranked = rank_by(serving, request, now.config, provider, Fetches(serving, request))
        ranking = Ranking(
            request_id=request_id,
            user_id=user_id,
            space=request.space,
            provider=ranked.provider,
            config_version=now.version,
            failures=ranked.failures,
            filters=ranked.filters,
            communities=tuple(sorted(wanted)),
            published_after=published_after,
            entries=entries_of(ranked, explain=explain),
            assignment=assignment,
        )
        page = _show(serving, connection, request, ranking, ranked.inputs, 0, limit, began)
    if page.next_cursor:
        committed(serving.engine, lambda kept: keep_ranking(kept, ranking, asked_at, serving.page_ttl_micros))
    FEEDS.labels(page.items[0].entry.source if page.items else "none", str(page.degraded).lower()).inc()
    return page


def next_page(serving: Serving, user_id: str, cursor: str, limit: int) -> FeedPage:
    """Goes on where the cursor points. Raises InvalidCursorError and ExpiredCursorError."""
    began = time.perf_counter()
    request_id, position = read_cursor(serving.secret, user_id, cursor)
    with reading(serving.engine) as connection:
        ranking = kept_ranking(connection, serving.secret, request_id, serving.page_ttl_micros)
        audience = audience_of(connection, user_id, frozenset(ranking.communities), ranking.published_after)
        ids = [entry.item_id for entry in ranking.entries[position:]]
        audience = audience.without(close_ones(serving, audience.controls.less, ranking.space, ids))
        request = open_request(serving, connection, audience, ranking.space)
        return _show(serving, connection, request, ranking, None, position, limit, began)


def _show(
    serving: Serving,
    connection: Connection,
    request: Request,
    ranking: Ranking,
    inputs: Inputs | None,
    position: int,
    limit: int,
    began: float,
) -> FeedPage:
    """The page from `position` on, noted in the ledger."""
    audience = request.audience.relaxed(ranking.filters)
    shown, after = visible_from(connection, audience, ranking.entries, position, limit)
    more = after < len(ranking.entries)
    cursor = sign_cursor(serving.secret, request.user_id, ranking.request_id, after) if more else None
    items = with_reasons(serving, connection, request, shown)
    answer = Answer(
        ranking.request_id,
        None,
        SECTION,
        ranking.provider,
        ranking.config_version,
        position,
        began,
        state="degraded" if ranking.failures else "whole",
        **noted_fields(ranking.assignment, request.user_id),
    )
    note_served(serving, request, answer, items, inputs)
    return FeedPage(ranking.request_id, ranking.space, ranking.provider, ranking.failures, cursor, items)
