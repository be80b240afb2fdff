"""How the hits of several sources become one order of candidates, each post once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nearfeed_contracts.vector_store import Hit
from nearfeed_core.fusion import fused
from nearfeed_recommender.config.schema import Blend, Fusion, Interleave, Quotas
from nearfeed_recommender.providers.candidates import Candidate, Mark, source_step

Found = Mapping[str, Sequence[Hit]]
Marks = Mapping[str, Sequence[Mark]]


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
    hits = {name: _each_once(found[name]) for name in weights if name in found}
    marks = _source_marks(hits)
    placed = _BLENDS[type(rule)](rule, hits, weights, marks)
    for rank, (item, score, source) in enumerate(placed, start=1):
        yield Candidate(item, score, source, (*marks[item], Mark("blend", rank, score)))


def _each_once(hits: Sequence[Hit]) -> list[Hit]:
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.item_id, hit)
    return list(first.values())


def _source_marks(found: Found) -> dict[str, list[Mark]]:
    marks: dict[str, list[Mark]] = {}
    for name, hits in found.items():
        step = source_step(name)
        for rank, (item, score) in enumerate(hits, start=1):
            marks.setdefault(item, []).append(Mark(step, rank, score))
    return marks


def _fuse(rule: Fusion, found: Found, weights: Mapping[str, float], marks: Marks) -> list[Placed]:
    """By fused scores; a post comes from the source that adds most to its score."""
    names = {source_step(name): name for name in found}
    scores = fused({name: [hit.item_id for hit in hits] for name, hits in found.items()}, weights, rule.k)

    def adds(mark: Mark) -> float:
        return weights[names[mark.step]] / (rule.k + mark.rank)

    return [Placed(item, score, names[max(marks[item], key=adds).step]) for item, score in scores.items()]


def _interleave(
    _rule: Interleave, found: Found, _weights: Mapping[str, float], _marks: Marks
) -> list[Placed]:
    placed: dict[str, Placed] = {}
    _take_turns(found, placed)
    return list(placed.values())


def _share_out(rule: Quotas, found: Found, _weights: Mapping[str, float], _marks: Marks) -> list[Placed]:
    """Sources without a share come in turn when those with one have run out."""
    placed: dict[str, Placed] = {}
    _apportion({name: hits for name, hits in found.items() if name in rule.shares}, rule.shares, placed)
    _take_turns({name: hits for name, hits in found.items() if name not in rule.shares}, placed)
    return list(placed.values())


def _take_turns(found: Found, placed: dict[str, Placed]) -> None:
    """The first of each source, then the second of each; a post stands where it is met first."""
    for depth in range(max(map(len, found.values()), default=0)):
        for name, hits in found.items():
            if depth < len(hits):
                placed.setdefault(hits[depth].item_id, Placed(*hits[depth], name))


def _apportion(found: Found, shares: Mapping[str, float], placed: dict[str, Placed]) -> None:
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
            placed[hit.item_id] = Placed(*hit, name)
            counts[name] += 1


def _next_source(shares: Mapping[str, float], counts: Mapping[str, int]) -> str:
    """The quota method: after every place each source has its share of the places, rounded up or down.

    Of the sources that are not above their share yet, the one of the highest share / (count + 1); the
    first among equals (Balinski and Young, The American Mathematical Monthly 82, 1975).
    """
    total = sum(shares.values())
    places = 1 + sum(counts.values())
    below = [name for name, share in shares.items() if counts[name] * total < share * places]
    return max(below, key=lambda name: shares[name] / (counts[name] + 1))


def _unplaced(hits: Sequence[Hit], placed: Mapping[str, Placed]) -> Iterator[Hit]:
    return (hit for hit in hits if hit.item_id not in placed)


_BLENDS: Mapping[type, Callable[[Any, Found, Mapping[str, float], Marks], list[Placed]]] = {
    Fusion: _fuse,
    Quotas: _share_out,
    Interleave: _interleave,
}
