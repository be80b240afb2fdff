"""Slate rules: what a page looks like as a whole.

Whatever their order in the configuration, rules are applied so that they hold together: near-duplicates
go first, then the order is made diverse, and then places are given out under `at_most`, which always
holds, with those for new posts and first exposures (`nearfeed_recommender.providers.places`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nearfeed_core.readings import HOUR_MICROS
from nearfeed_recommender.config.schema import (
    AtMost,
    Diversity,
    FirstExposure,
    NearDuplicates,
    NewShare,
    SlateRule,
)
from nearfeed_recommender.providers.candidates import Candidate, Facts
from nearfeed_recommender.providers.diversity import Vector, diversified, without_near_duplicates
from nearfeed_recommender.providers.places import Exposure, NewPlaces, Placed, filled
from nearfeed_recommender.providers.windows import Limit

NEW = "new"
_Step = Callable[[Any, Sequence[Candidate], Mapping[str, Vector]], list[Candidate]]
_BY_VECTORS: Mapping[type[NearDuplicates] | type[Diversity], _Step] = {
    NearDuplicates: without_near_duplicates,
    Diversity: diversified,
}


def apply_rules(
    rules: Sequence[SlateRule],
    candidates: Sequence[Candidate],
    facts: Mapping[str, Facts],
    vectors: Mapping[str, Mapping[str, Vector]],
    now: int,
) -> list[Candidate]:
    """The slate; a candidate whose place a rule has given it has a mark `slate:RULE`.

    `facts` has all candidates, `vectors` those that are known by model name and item; `now` is in
    microseconds. A post at a place kept for new posts comes from `new`, one that a first exposure has
    moved from its source. Each candidate at most once, the same for the same arguments.
    """
    slate = list(candidates)
    for form, step in _BY_VECTORS.items():
        for rule in rules:
            if isinstance(rule, form):
                slate = step(rule, slate, vectors.get(rule.model, {}))
    return _place(rules, slate, facts, now)


def _place(
    rules: Iterable[SlateRule], candidates: Sequence[Candidate], facts: Mapping[str, Facts], now: int
) -> list[Candidate]:
    posts = [facts[candidate.item_id] for candidate in candidates]
    limits = [_limit(rule, posts) for rule in rules if isinstance(rule, AtMost)]
    youngest_first = sorted(
        (rule for rule in rules if isinstance(rule, NewShare)), key=lambda rule: rule.hours
    )
    shares = [_new_places(rule, posts, now) for rule in youngest_first]
    first = [rule for rule in rules if isinstance(rule, FirstExposure)]
    exposures = [_exposure(rule, candidates) for rule in first]
    placed = filled(len(candidates), limits, shares, exposures)
    return [_told(candidates[slot.candidate], slot, rank, first) for rank, slot in enumerate(placed, start=1)]


def _limit(rule: AtMost, posts: Sequence[Facts]) -> Limit:
    keys = [post.author_id if rule.of == "author" else post.community_id for post in posts]
    return Limit(rule.n, rule.window, keys)


def _new_places(rule: NewShare, posts: Sequence[Facts], now: int) -> NewPlaces:
    since = now - rule.hours * HOUR_MICROS
    return NewPlaces(rule.share, [post.published_at >= since for post in posts])


def _exposure(rule: FirstExposure, candidates: Sequence[Candidate]) -> Exposure:
    of = [number for number, candidate in enumerate(candidates) if candidate.is_of(rule.source)]
    return Exposure(rule.within, of)


def _told(candidate: Candidate, slot: Placed, rank: int, first: Sequence[FirstExposure]) -> Candidate:
    """With a mark of each rule that has had a hand in its place."""
    if slot.is_put_off:
        candidate = candidate.marked("slate:at_most", rank, candidate.score)
    if slot.is_kept:
        return replace(candidate.marked("slate:new_share", rank, candidate.score), source=NEW)
    if slot.exposure is not None:
        source = first[slot.exposure].source
        return replace(candidate.marked("slate:first_exposure", rank, candidate.score), source=source)
    return candidate
