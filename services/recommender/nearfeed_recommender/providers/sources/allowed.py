"""Models in memory know nothing of communities, dates and controls: what they find is filtered here."""

from collections.abc import Iterable
from itertools import islice

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.serving import Serving

SPARE = 8
"""How many times its limit such a source asks for, so that a filter leaves enough."""


def allowed(serving: Serving, audience: Audience, hits: Iterable[Hit], limit: int) -> list[Hit]:
    """The first `limit` hits that the audience allows; what comes after them is not looked at."""
    kept: list[Hit] = []
    waiting = iter(hits)
    while len(kept) < limit and (some := list(islice(waiting, limit))):
        facts = serving.facts.of([hit.item_id for hit in some])
        kept += [
            hit
            for hit in some
            if (post := facts.get(hit.item_id)) is not None and audience.allows(hit.item_id, post)
        ]
    return kept[:limit]
