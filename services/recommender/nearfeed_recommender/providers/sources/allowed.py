"""Models in memory know nothing of communities, dates and controls: what they find is filtered here."""

from collections.abc import Sequence

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.serving import Serving

SPARE = 4
"""How many times its limit such a source asks for, so that a filter leaves enough."""


def allowed(serving: Serving, audience: Audience, hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The first `limit` hits that the audience allows."""
    facts = serving.facts.of([hit.item_id for hit in hits])
    kept = (hit for hit in hits if hit.item_id in facts and audience.allows(hit.item_id, facts[hit.item_id]))
    return [hit for hit, _ in zip(kept, range(limit), strict=False)]
