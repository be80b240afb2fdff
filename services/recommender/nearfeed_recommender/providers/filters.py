"""Which candidates a reader may and wants to see."""

from collections.abc import Mapping, Sequence

from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.candidates import Candidate, Facts


def keep(
    candidates: Sequence[Candidate],
    facts: Mapping[str, Facts],
    filters: Sequence[Filter],
    audience: Audience,
) -> list[Candidate]:
    """The candidates that pass, in their order.

    A post without facts is deleted or not known. Deletion, `blocked` and `hidden_topic` hold whether named
    or not.
    """
    relaxed = audience.relaxed(filters)
    return [
        candidate
        for candidate in candidates
        if (post := facts.get(candidate.item_id)) is not None and relaxed.allows(candidate.item_id, post)
    ]
