"""A user's feed in a space that need not be active, looked at before it is."""

from dataclasses import dataclass

from nearfeed_recommender.pipeline.query import Hydrator
from nearfeed_recommender.serving.feed import Ranker
from nearfeed_recommender.serving.response import Order, Responder, encode_items


@dataclass(frozen=True)
class Preview:
    """Thread-safe. The exposure log does not record it."""

    ranker: Ranker
    hydrator: Hydrator
    responder: Responder

    def items(self, user_id: str, space: str, limit: int) -> bytes:
        """What the feed would show first if the space were active, as a JSON list.

        Models of kind vectors that name a space keep to theirs. Raises NoSuchSpaceError.
        """
        snapshot = self.ranker.config.current
        query = self.hydrator.query_in(user_id, space)
        pipeline = self.ranker.pipelines.of(snapshot)[snapshot.config.feed]
        ranked = pipeline.run(query, self.ranker.fetches(query))
        order = Order(ranked.candidates, ranked.kinds)
        eligible = query.eligibility(ranked.filters)
        shown, _ = self.responder.posts(query).visible(order, eligible, 0, limit)
        return encode_items(order, shown, explain=False)
