"""Posts similar to a post: one search with its own vector, for everybody or for one user."""

from dataclasses import dataclass, replace

import numpy as np
import orjson

from nearfeed_contracts.vector_store import Hits, VectorStore
from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.catalog.posts import PostText
from nearfeed_recommender.catalogue import UnknownItemError
from nearfeed_recommender.config.schema import NamedFilter
from nearfeed_recommender.infra.breaker import StoreBreaker
from nearfeed_recommender.serving.hydrate import ANYONE, Hydrator
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
        hits = self._hits(query.space, item_id, limit + _SPARE, eligible)
        rows = query.columns.rows_of(hits.item_ids)
        texts = self.responder.texts_of(rows[rows >= 0].tolist())
        allowed = self._allowed(query.space, rows, eligible)
        found = zip(rows.tolist(), hits.scores.tolist(), allowed, strict=True)
        posts = [(texts[row], score) for row, score, may in found if may and row in texts]
        return SimilarPosts(query.space, posts[:limit])

    def _hits(self, space: str | None, item_id: str, count: int, eligible: Eligibility) -> Hits:
        if space is None:
            return Hits()
        where = eligible.search_filter
        others = replace(where, exclude_item_ids=where.exclude_item_ids | {item_id})

        def search() -> Hits:
            vector = self.store.fetch(space, [item_id]).get(item_id)
            return Hits() if vector is None else self.store.search(space, vector, count, others)

        return self.breaker.ask(search)

    def _allowed(self, space: str | None, rows: Rows, eligible: Eligibility) -> list[bool]:
        known = np.where(rows >= 0, rows, 0)
        close = self.responder.less.close_rows(eligible.state, space, known)
        return [bool(may) for may in eligible.excluding(close).allows(known) & (rows >= 0)]
