"""Models in memory know nothing of communities, dates and controls: what they find is filtered here."""

from collections.abc import Sequence

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.serving import Serving
from nearfeed_runtime.sql import chunks

SPARE = 8
"""How many times its limit such a source asks for, so that a filter leaves enough."""


def allowed(serving: Serving, audience: Audience, hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The first `limit` hits that the audience allows; what comes after them is not looked at."""
    kept: list[Hit] = []
    for some in chunks(hits, limit):
        facts = serving.facts.of([hit.item_id for hit in some])
        kept += [
            hit
            for hit in some
            if (post := facts.get(hit.item_id)) is not None and audience.allows(hit.item_id, post)
        ]
        if len(kept) >= limit:
            break
    return kept[:limit]
