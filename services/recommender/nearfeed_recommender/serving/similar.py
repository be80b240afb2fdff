"""Posts similar to a post: one search with its own vector, for everybody or for one user."""

from dataclasses import dataclass

import numpy as np
import orjson

from nearfeed_contracts.vector_store import VectorStore
from nearfeed_recommender.catalog.posts import PostText
from nearfeed_recommender.catalog.writes import UnknownItemError
from nearfeed_recommender.config.schema import NamedFilter
from nearfeed_recommender.infra.breaker import StoreBreaker
from nearfeed_recommender.pipeline.candidates import NOTHING, Found
from nearfeed_recommender.pipeline.query import ANYONE, Hydrator
from nearfeed_recommender.pipeline.search import Search
from nearfeed_recommender.serving.response import Responder, encode_object
from nearfeed_recommender.users.eligibility import Eligibility

_SPARE = 50
_FILTERS: tuple[NamedFilter, ...] = ("membership", "own")


@dataclass(frozen=True)
class SimilarPosts:
    """Posts with their inner products with the one that was asked for, best first."""

    space: str | None
    posts: list[tuple[PostText, float]]

    def encode(self) -> bytes:
        """The posts as JSON."""
        items = b",".join(post.json + b',"score":' + orjson.dumps(score) + b"}" for post, score in self.posts)
        return encode_object({"space": self.space}, "items", b"[" + items + b"]")


@dataclass(frozen=True)
class Similar:
    """Thread-safe."""

    search: Search
    store: VectorStore
    breaker: StoreBreaker
    hydrator: Hydrator
    responder: Responder

    def to(self, item_id: str, limit: int, user_id: str | None = None) -> SimilarPosts:
        """The `limit` posts closest to a post; none for one that has no vector yet.

        For a user, those alone that they may see and have not turned down; what they have read is among them.
        Raises UnknownItemError and StoreUnavailableError.
        """
        query = self.hydrator.query(user_id or ANYONE)
        row = query.columns.row_of(item_id)
        if row < 0 or not query.columns.live[row]:
            raise UnknownItemError(f"There is no item {item_id!r}.")
        eligible = query.eligibility(_FILTERS if user_id else ())
        eligible = eligible.excluding(np.array([row], np.int32))
        found = self._found(query.space, item_id, limit + _SPARE, eligible)
        close = self.responder.less.close_rows(query.state, query.space, found.rows)
        far = ~np.isin(found.rows, close)
        rows, scores = found.rows[far][:limit], found.scores[far][:limit]
        self.responder.look_again(query)
        texts = self.responder.texts_of(rows.tolist())
        allowed = eligible.allows(rows)
        posts = [
            (texts[row], score)
            for row, score, may in zip(rows.tolist(), scores.tolist(), allowed.tolist(), strict=True)
            if may and row in texts
        ]
        return SimilarPosts(query.space, posts)

    def _found(self, space: str | None, item_id: str, count: int, eligible: Eligibility) -> Found:
        if space is None:
            return NOTHING

        def search() -> Found:
            vector = self.store.fetch(space, [item_id]).get(item_id)
            return NOTHING if vector is None else self.search.nearest(space, vector, eligible, count)

        return self.breaker.ask(search)
