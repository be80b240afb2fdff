"""Which candidates a reader may and wants to see, by what SQL says now."""

from collections.abc import Callable, Mapping, Sequence

from nearfeed_recommender.config.schema import Filter, LanguageFilter, NamedFilter
from nearfeed_recommender.posts import Audience
from nearfeed_recommender.providers.candidates import Candidate, Facts

Check = Callable[[Audience, str, Facts], bool]
ALWAYS: tuple[NamedFilter, ...] = ("blocked", "hidden_topic")


def keep(
    candidates: Sequence[Candidate],
    facts: Mapping[str, Facts],
    filters: Sequence[Filter],
    audience: Audience,
) -> list[Candidate]:
    """The candidates that pass, in their order.

    A post without facts is deleted or not known. Deletion, `blocked` and `hidden_topic` hold whether
    named or not; with all named filters the rest is what `Audience.allows` allows.
    """
    checks = _checks(filters)
    return [
        candidate
        for candidate in candidates
        if (post := facts.get(candidate.item_id)) is not None
        and all(check(audience, candidate.item_id, post) for check in checks)
    ]


def _checks(filters: Sequence[Filter]) -> list[Check]:
    names = {*ALWAYS, *(rule for rule in filters if not isinstance(rule, LanguageFilter))}
    languages = [_in_languages(rule) for rule in filters if isinstance(rule, LanguageFilter)]
    return [check for name, check in _NAMED.items() if name in names] + languages


def _in_languages(rule: LanguageFilter) -> Check:
    """`en` has `en-GB` too, in any case of letters (basic filtering, RFC 4647)."""
    wanted = {language.lower() for language in rule.language}

    def passes(_audience: Audience, _item_id: str, post: Facts) -> bool:
        if post.language is None:
            return True
        parts = post.language.lower().split("-")
        return any("-".join(parts[:length]) in wanted for length in range(1, len(parts) + 1))

    return passes


def _is_in_communities(audience: Audience, _item_id: str, post: Facts) -> bool:
    return audience.communities is None or post.community_id in audience.communities


def _is_recent(audience: Audience, _item_id: str, post: Facts) -> bool:
    return audience.published_after is None or post.published_at >= audience.published_after


def _is_unseen(audience: Audience, item_id: str, _post: Facts) -> bool:
    return item_id not in audience.seen


def _is_by_others(audience: Audience, _item_id: str, post: Facts) -> bool:
    return post.author_id != audience.user_id


def _is_not_blocked(audience: Audience, item_id: str, post: Facts) -> bool:
    """Neither its author nor the post itself is refused, by a control or by a hide, report or low rating."""
    refused = item_id in audience.controls.items or item_id in audience.excluded
    return not refused and post.author_id not in audience.controls.authors


def _has_no_hidden_topic(audience: Audience, _item_id: str, post: Facts) -> bool:
    return audience.controls.tags.isdisjoint(post.tags)


_NAMED: Mapping[NamedFilter, Check] = {
    "membership": _is_in_communities,
    "date": _is_recent,
    "seen": _is_unseen,
    "own": _is_by_others,
    "blocked": _is_not_blocked,
    "hidden_topic": _has_no_hidden_topic,
}
