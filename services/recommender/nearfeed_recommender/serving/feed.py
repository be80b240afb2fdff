"""The feed: what its provider ranks for a user, then pages of it. Read `Feed.first` and `Feed.next`."""

import base64
import binascii
import hashlib
import hmac
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from prometheus_client import Counter

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.fields import now_micros
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.experiments.live import LiveExperiments
from nearfeed_recommender.experiments.schema import FEED_PLACE
from nearfeed_recommender.exposure_log.request_ids import new_nonce, read_request_id, sign_request_id
from nearfeed_recommender.infra.threads import Threads
from nearfeed_recommender.pipeline.build import Pipelines
from nearfeed_recommender.pipeline.fetch import Fetches
from nearfeed_recommender.pipeline.query import NO_WISH, Hydrator, Query
from nearfeed_recommender.pipeline.rank import Inputs
from nearfeed_recommender.serving.assignment import arms_of, assign_places, provider_of
from nearfeed_recommender.serving.exposure import Exposure, ExposureRecorder
from nearfeed_recommender.serving.rankings import Ranking, Rankings, expired
from nearfeed_recommender.serving.response import Order, Responder, Shown, encode_items, encode_object
from nearfeed_recommender.users.eligibility import Wish

_SIGNATURE_BYTES = 16


class InvalidCursorError(NearfeedError):
    """A cursor that this service did not make for this user."""


def sign_cursor(secret: bytes, user_id: str, request_id: str, position: int) -> str:
    """Request id and position, signed over the user too."""
    payload = f"{request_id}.{position}"
    raw = _signature(secret, user_id, payload) + payload.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(secret: bytes, user_id: str, cursor: str) -> tuple[str, int]:
    """Request id and position. Raises InvalidCursorError."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:].decode()
        genuine = hmac.compare_digest(signature, _signature(secret, user_id, payload))
        request_id, position = payload.rsplit(".", 1)
        if genuine:
            return request_id, int(position)
    except (binascii.Error, ValueError):
        pass
    raise InvalidCursorError("cursor: it was not made by this service for this reader.")


def _signature(secret: bytes, user_id: str, payload: str) -> bytes:
    message = orjson.dumps([user_id, payload])
    return hmac.new(secret, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


SECTION = "feed"
_SOURCES_SHARE, _REST_SHARE = 0.6, 0.1  # of the time for a response: for its sources, and after them
FEEDS = Counter("nearfeed_feeds_total", "Feed answers.", ["source", "degraded"])


@dataclass(frozen=True)
class FeedPage:
    """One page of the feed; `failures` says which sources and stages it had to do without, and why."""

    request_id: str
    space: str | None
    provider: str
    failures: Mapping[str, str]
    next_cursor: str | None
    order: Order
    items: Sequence[Shown]

    @property
    def degraded(self) -> bool:
        return bool(self.failures)

    def encode(self, *, explain: bool = False) -> bytes:
        """The page as JSON."""
        fields = {
            "request_id": self.request_id,
            "space": self.space,
            "provider": self.provider,
            "degraded": self.degraded,
            "failures": dict(self.failures),
            "next_cursor": self.next_cursor,
        }
        return encode_object(fields, "items", encode_items(self.order, self.items, explain=explain))


@dataclass(frozen=True)
class Ranker:
    """What ranks a response within `seconds`: the configuration that is served now, threads for sources."""

    config: LiveConfig
    experiments: LiveExperiments
    pipelines: Pipelines
    threads: Threads
    seconds: float

    def fetches(self, query: Query, until: float = math.inf) -> Fetches:
        """The sources of a response that is due at a time of time.monotonic."""
        own = time.monotonic() + _SOURCES_SHARE * self.seconds
        return Fetches(query, self.threads, min(own, until - _REST_SHARE * self.seconds))


@dataclass(frozen=True)
class Feed:
    """Thread-safe. `secret` signs request ids and cursors."""

    ranker: Ranker
    hydrator: Hydrator
    responder: Responder
    rankings: Rankings
    exposures: ExposureRecorder
    secret: bytes

    def first(
        self,
        user_id: str,
        limit: int,
        wish: Wish = NO_WISH,
        *,
        explain: bool = False,
        until: float = math.inf,
    ) -> FeedPage:
        """Ranks for the user, keeps the ranking for the pages to come, and shows its first page.

        It is due at `until`, a time of time.monotonic: sources that are late are left out.
        """
        began, created_at = time.perf_counter(), now_micros()
        snapshot = self.ranker.config.current
        query = self.hydrator.query(user_id, wish)
        nonce = new_nonce()
        assigned = assign_places(self.ranker.experiments, snapshot.config, query, nonce, [FEED_PLACE])
        assignment = assigned.get(FEED_PLACE)
        provider = provider_of(assignment, snapshot.config.feed)
        request_id = sign_request_id(
            self.secret, user_id, query.now, snapshot.version, arms_of(assigned), nonce
        )
        exposure = Exposure(request_id, None, SECTION, provider, snapshot.version, 0, began, assignment)
        with self.exposures.failure_recorded(query, exposure):
            pipeline = self.ranker.pipelines.of(snapshot)[provider]
            ranked = pipeline.run(query, self.ranker.fetches(query, until), explain=explain)
        ranking = Ranking(
            request_id=request_id,
            user_id=user_id,
            created_at=created_at,
            space=query.space,
            provider=ranked.provider,
            config_version=snapshot.version,
            failures=ranked.failures,
            filters=ranked.filters,
            wish=wish,
            order=Order(ranked.candidates, ranked.kinds),
            assignment=assignment,
        )
        page = self._page(query, ranking, ranked.inputs, 0, limit, began)
        if page.next_cursor:
            self.rankings.put(ranking)
        source = page.order.source_of(page.items[0].place) if page.items else "none"
        FEEDS.labels(source, str(page.degraded).lower()).inc()
        return page

    def cheap(self, user_id: str, limit: int, wish: Wish = NO_WISH) -> FeedPage:
        """One page of popular and latest posts: what an overloaded process answers."""
        query = self.hydrator.query(user_id, wish)
        ranked = self.ranker.pipelines.cheap.run(query, self.ranker.fetches(query))
        order = Order(ranked.candidates, ranked.kinds)
        shown, _ = self.responder.posts(query).visible(order, query.eligibility(ranked.filters), 0, limit)
        version = self.ranker.config.current.version
        request_id = sign_request_id(self.secret, user_id, query.now, version, (), new_nonce())
        failures = {
            "overload": "the service has more to answer than it can; these are popular and latest posts"
        }
        FEEDS.labels(ranked.provider, "true").inc()
        return FeedPage(request_id, query.space, ranked.provider, failures, None, order, shown)

    def next(self, user_id: str, cursor: str, limit: int) -> FeedPage:
        """Goes on where the cursor points. Raises InvalidCursorError and ExpiredCursorError."""
        began = time.perf_counter()
        request_id, position = read_cursor(self.secret, user_id, cursor)
        served = read_request_id(self.secret, user_id, request_id)
        ranking = self.rankings.get(request_id, served.served_at if served else 0)
        query = self.hydrator.query(user_id, ranking.wish)
        if ranking.created_at <= query.state.reset_at:
            raise expired()
        query = Query(query.state, ranking.wish, ranking.space, query.now)
        return self._page(query, ranking, None, position, limit, began)

    def _page(
        self, query: Query, ranking: Ranking, inputs: Inputs | None, position: int, limit: int, began: float
    ) -> FeedPage:
        """The page from `position` on, recorded in the exposure log."""
        order = ranking.order
        eligible = query.eligibility(ranking.filters)
        if position and query.state.controls.less:
            left = order.candidates.rows[position:]
            eligible = eligible.excluding(self.responder.less.close_rows(query.state, ranking.space, left))
        shown, after = self.responder.posts(query).visible(order, eligible, position, limit)
        more = after < len(order.candidates)
        cursor = sign_cursor(self.secret, query.state.user_id, ranking.request_id, after) if more else None
        exposure = Exposure(
            ranking.request_id,
            None,
            SECTION,
            ranking.provider,
            ranking.config_version,
            position,
            began,
            ranking.assignment,
            "degraded" if ranking.failures else "whole",
        )
        self.exposures.record(query, exposure, order, shown, inputs)
        return FeedPage(
            ranking.request_id, ranking.space, ranking.provider, ranking.failures, cursor, order, shown
        )
