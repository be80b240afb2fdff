"""How the hits of several sources become one order of candidates, each post once."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from nearfeed_contracts.vector_store import Hit
from nearfeed_core.fusion import fused
from nearfeed_recommender.config.schema import Blend, Fusion, Interleave, Quotas
from nearfeed_recommender.providers.candidates import Candidate, Mark, source_step

Ranked = tuple[int, float]
"""A source's rank, from 1, and score of a post."""
Found = Mapping[str, Mapping[str, Ranked]]
"""By source what it gave, best first."""


class Placed(NamedTuple):
    """A post with the score that the blend gives it, and the source that is said to have brought it."""

    item_id: str
    score: float
    source: str


def blend(
    rule: Blend, found: Mapping[str, Sequence[Hit]], weights: Mapping[str, float]
) -> Iterator[Candidate]:
    """One order of what the sources found, best first, made as far as it is asked for.

    `weights` has all sources in the provider's order, which decides between sources that are equal;
    `found` those that answered. Each candidate has a mark of every source that gave it, and of the blend.
    """
    hits = {name: _by_item(found[name]) for name in weights if name in found}
    for rank, (item, score, source) in enumerate(_BLENDS[type(rule)](rule, hits, weights), start=1):
        marks = (Mark(source_step(name), *ranked[item]) for name, ranked in hits.items() if item in ranked)
        yield Candidate(item, score, source, (*marks, Mark("blend", rank, score)))


def _by_item(hits: Sequence[Hit]) -> dict[str, Ranked]:
    scores: dict[str, float] = {}
    for item, score in hits:
        scores.setdefault(item, score)
    return {item: (rank, score) for rank, (item, score) in enumerate(scores.items(), start=1)}


def _fuse(rule: Fusion, found: Found, weights: Mapping[str, float]) -> Iterator[Placed]:
    """By fused scores; a post comes from the source that adds most to its score."""
    for item, score in fused(found, weights, rule.k).items():
        adds = {
            name: weights[name] / (rule.k + ranked[item][0])
            for name, ranked in found.items()
            if item in ranked
        }
        yield Placed(item, score, max(adds, key=adds.__getitem__))


def _interleave(_rule: Interleave, found: Found, _weights: Mapping[str, float]) -> Iterator[Placed]:
    return _take_turns(found, set())


def _share_out(rule: Quotas, found: Found, _weights: Mapping[str, float]) -> Iterator[Placed]:
    """Sources without a share come in turn when those with one have run out."""
    placed: set[str] = set()
    yield from _apportion(
        {name: hits for name, hits in found.items() if name in rule.shares}, rule.shares, placed
    )
    yield from _take_turns({name: hits for name, hits in found.items() if name not in rule.shares}, placed)


def _take_turns(found: Found, placed: set[str]) -> Iterator[Placed]:
    """The first of each source, then the second of each; a post stands where it is met first."""
    turns = zip_longest(*([(name, *hit) for hit in _scored(hits)] for name, hits in found.items()))
    for name, item, score in (hit for turn in turns for hit in turn if hit is not None):
        if item not in placed:
            placed.add(item)
            yield Placed(item, score, name)


def _apportion(found: Found, shares: Mapping[str, float], placed: set[str]) -> Iterator[Placed]:
    """Place by place to the source whose turn it is, until all have run out."""
    waiting = {name: _unplaced(hits, placed) for name, hits in found.items()}
    left = {name: shares[name] for name in found}
    counts = dict.fromkeys(found, 0)
    while left:
        name = _next_source(left, counts)
        hit = next(waiting[name], None)
        if hit is None:
            del left[name], counts[name]
        else:
            placed.add(hit[0])
            counts[name] += 1
            yield Placed(*hit, name)


def _next_source(shares: Mapping[str, float], counts: Mapping[str, int]) -> str:
    """The quota method: after every place each source has its share of the places, rounded up or down.

    Of the sources that are not above their share yet, the one of the highest share / (count + 1); the
    first among equals (Balinski and Young, The American Mathematical Monthly 82, 1975).
    """
    total = sum(shares.values())
    places = 1 + sum(counts.values())
    below = [name for name, share in shares.items() if counts[name] * total < share * places]
    return max(below, key=lambda name: shares[name] / (counts[name] + 1))


def _unplaced(hits: Mapping[str, Ranked], placed: Collection[str]) -> Iterator[tuple[str, float]]:
    return (hit for hit in _scored(hits) if hit[0] not in placed)


def _scored(hits: Mapping[str, Ranked]) -> Iterator[tuple[str, float]]:
    return ((item, score) for item, (_, score) in hits.items())


_BLENDS: Mapping[type, Callable[[Any, Found, Mapping[str, float]], Iterator[Placed]]] = {
    Fusion: _fuse,
    Quotas: _share_out,
    Interleave: _interleave,
}
