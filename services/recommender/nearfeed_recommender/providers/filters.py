"""Which candidates a reader may and wants to see."""

from collections.abc import Mapping, Sequence

from nearfeed_recommender.config.schema import Filter, LanguageFilter
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
    languages = [rule for rule in filters if isinstance(rule, LanguageFilter)]
    return [
        candidate
        for candidate in candidates
        if (post := facts.get(candidate.item_id)) is not None
        and relaxed.allows(candidate.item_id, post)
        and all(_is_in(rule, post.language) for rule in languages)
    ]


def _is_in(rule: LanguageFilter, language: str | None) -> bool:
    """`en` has `en-GB` too, in any case (basic filtering, RFC 4647); an unknown language passes."""
    if language is None:
        return True
    parts = language.lower().split("-")
    prefixes = {"-".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return not prefixes.isdisjoint(wanted.lower() for wanted in rule.language)
