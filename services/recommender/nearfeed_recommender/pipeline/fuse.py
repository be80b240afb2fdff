"""How what several sources have found becomes one order of candidates, each post once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from nearfeed_recommender.catalog.columns import Columns, Rows
from nearfeed_recommender.config.schema import Blend, Fusion, Interleave, Quotas
from nearfeed_recommender.pipeline.candidates import (
    NEW,
    SOURCE_MARK,
    Candidates,
    Found,
    Mark,
    Order,
    Ranks,
    Trace,
    Values,
    nothing,
)


class Pool(NamedTuple):
    """The posts of all sources: `rows` (n) each once, `ranks` (sources, n; 0: not found), `scores` alike.

    `lists` has by source the places in `rows` of what it has found, best first.
    """

    rows: Rows
    ranks: Ranks
    scores: Values
    lists: Sequence[Order]


class Placed(NamedTuple):
    """An order: places in the pool (n), the score of each, and the number of the source that brought it."""

    places: Order
    scores: Values
    source: Ranks


class Fuser:
    """One blend of a provider's sources, made once."""

    def __init__(self, rule: Blend, names: Sequence[str], weights: Sequence[float]) -> None:
        self._rule, self._names = rule, tuple(names)
        self._weights = np.array(weights)
        self._blend = _BLENDS[type(rule)]

    def fuse(self, found: Mapping[str, Found], columns: Columns, trace: Trace | None) -> Candidates:
        """The order of what was found, best first. Sources that are missing have found nothing.

        Their order in the provider decides between sources that are equal.
        """
        lists = [found[name] for name in self._names if name in found]
        present = [number for number, name in enumerate(self._names) if name in found]
        filled = [number for number, each in zip(present, lists, strict=True) if len(each.rows)]
        if not filled:
            return nothing(self._names)
        if len(filled) == 1:
            made = self._alone(filled[0], found[self._names[filled[0]]], trace)
        else:
            made = self._fused(lists, present, columns, trace)
        if trace is not None:
            _explain(made, trace)
        return made

    def _alone(self, number: int, found: Found, trace: Trace | None) -> Candidates:
        """What one source has found, in its order: each blend comes to that."""
        size, count = len(self._names), len(found.rows)
        ranks, scores = np.zeros((size, count), np.int32), np.zeros((size, count))
        ranks[number], scores[number] = np.arange(1, count + 1), found.scores
        own = found.scores
        if isinstance(self._rule, Fusion):
            own = self._weights[number] / (self._rule.k + ranks[number])
        source = np.full(count, number, np.int32)
        return Candidates(found.rows, own, source, ranks, scores, (*self._names, NEW), trace)

    def _fused(
        self, lists: Sequence[Found], present: Sequence[int], columns: Columns, trace: Trace | None
    ) -> Candidates:
        pool = _pooled(lists)
        names = [self._names[number] for number in present]
        placed = self._blend(self._rule, pool, names, self._weights[present], columns)
        size = len(self._names)
        ranks = np.zeros((size, len(placed.places)), np.int32)
        scores = np.zeros((size, len(placed.places)))
        ranks[present], scores[present] = pool.ranks[:, placed.places], pool.scores[:, placed.places]
        source = np.array(present, np.int32)[placed.source]
        rows = pool.rows[placed.places]
        return Candidates(rows, placed.scores, source, ranks, scores, (*self._names, NEW), trace)


def _explain(candidates: Candidates, trace: Trace) -> None:
    for place, row in enumerate(candidates.rows.tolist()):
        for name, rank, score in candidates.found_by(place):
            trace.add(row, Mark(f"{SOURCE_MARK}{name}", rank, score))
        trace.add(row, Mark("blend", place + 1, float(candidates.scores[place])))


def _pooled(lists: Sequence[Found]) -> Pool:
    rows, inverse = np.unique(np.concatenate([each.rows for each in lists]), return_inverse=True)
    ranks = np.zeros((len(lists), len(rows)), np.int32)
    scores = np.zeros((len(lists), len(rows)))
    places: list[Order] = []
    start = 0
    for number, each in enumerate(lists):
        own = inverse[start : start + len(each.rows)]
        ranks[number, own] = np.arange(1, len(own) + 1)
        scores[number, own] = each.scores
        places.append(own)
        start += len(own)
    return Pool(rows, ranks, scores, places)


def _reciprocal_ranks(
    rule: Fusion, pool: Pool, _names: Sequence[str], weights: Values, columns: Columns
) -> Placed:
    """By the sum of weight / (k + rank), of equals by id; a post comes from the source that adds most."""
    adds = np.where(pool.ranks > 0, weights[:, None] / (rule.k + np.maximum(pool.ranks, 1)), 0.0)
    scores = np.zeros(len(pool.rows))
    for each in adds:
        scores += each
    places = np.argsort(-scores, kind="stable")
    for start, end in _equal_runs(scores[places]):
        places[start:end] = sorted(places[start:end], key=lambda place: columns.ids[pool.rows[place]])
    return Placed(places, scores[places], adds.argmax(axis=0)[places].astype(np.int32))


def _equal_runs(scores: Values) -> list[tuple[int, int]]:
    """Where in a descending order (n) values are equal: starts and ends of runs of two and more."""
    edges = np.flatnonzero(np.diff(scores) != 0) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(scores)]])
    return [(int(s), int(e)) for s, e in zip(starts, ends, strict=True) if e - s > 1]


def _interleaved(
    _rule: Interleave, pool: Pool, _names: Sequence[str], _weights: Values, _columns: Columns
) -> Placed:
    return _in_turns(pool, range(len(pool.lists)))


def _in_turns(pool: Pool, sources: Sequence[int]) -> Placed:
    """The first of each source, then the second of each; a post has the first place that it meets."""
    lists = [pool.lists[source] for source in sources]
    places = np.concatenate([*lists, np.empty(0, np.intp)])
    source = np.concatenate(
        [np.full(len(own), number) for number, own in zip(sources, lists, strict=True)] or [places]
    )
    turn = np.concatenate([np.arange(len(own)) for own in lists] or [places])
    order = np.argsort(turn, kind="stable")
    places, source = places[order], source[order].astype(np.int32)
    _, first = np.unique(places, return_index=True)
    kept = np.sort(first)
    return _placed(pool, places[kept], source[kept])


def _shared_out(
    rule: Quotas, pool: Pool, names: Sequence[str], _weights: Values, _columns: Columns
) -> Placed:
    """Sources without a share come in turn when those with one have run out; an empty one has no share."""
    sharing = [number for number, name in enumerate(names) if name in rule.shares]
    places, source = _apportioned(pool, sharing, [rule.shares[names[number]] for number in sharing])
    rest = _in_turns(pool, [number for number in range(len(names)) if number not in sharing])
    left = ~np.isin(rest.places, places)
    return _placed(
        pool,
        np.concatenate([np.array(places, np.intp), rest.places[left]]),
        np.concatenate([np.array(source, np.int32), rest.source[left]]),
    )


def _apportioned(pool: Pool, sources: Sequence[int], shares: Sequence[float]) -> tuple[list[int], list[int]]:
    """Places and sources, place by place to the source whose turn it is, until all have run out."""
    left = {source: share for source, share in zip(sources, shares, strict=True) if len(pool.lists[source])}
    counts = dict.fromkeys(left, 0)
    waiting = {source: iter(pool.lists[source].tolist()) for source in left}
    taken = bytearray(len(pool.rows))
    places: list[int] = []
    brought: list[int] = []
    while left:
        if len(left) == 1:
            ((source, _),) = left.items()
            rest = [place for place in waiting[source] if not taken[place]]
            return places + rest, brought + [source] * len(rest)
        source = _fill(left, counts, waiting, taken, (places, brought))
        del left[source], counts[source]
    return places, brought


def _fill(
    shares: Mapping[int, float],
    counts: dict[int, int],
    waiting: Mapping[int, Iterator[int]],
    taken: bytearray,
    filled: tuple[list[int], list[int]],
) -> int:
    """Gives places in turn until a source has run out, which it returns."""
    places, brought = filled
    for source in turns(tuple(shares.items()), tuple(counts.values()), len(taken) + 1):
        for place in waiting[source]:
            if not taken[place]:
                break
        else:
            return source
        taken[place] = 1
        counts[source] += 1
        places.append(place)
        brought.append(source)
    raise AssertionError("there are more turns than posts")


@lru_cache(256)
def turns(shares: tuple[tuple[int, float], ...], counts: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The sources of the next `most` places, where those before went to the sources in these numbers.

    The quota method: after every place each source has its share of the places, rounded up or down. Of the
    sources that are not above their share yet, the one of the highest share / (count + 1) is next; the
    first among equals (Balinski and Young, The American Mathematical Monthly 82, 1975).
    """
    own = list(counts)
    total = sum(share for _, share in shares)
    made: list[int] = []
    for place in range(1 + sum(own), most + sum(own) + 1):
        below = [n for n, (_, share) in enumerate(shares) if own[n] * total < share * place]
        best = max(below, key=lambda n: shares[n][1] / (own[n] + 1))
        own[best] += 1
        made.append(shares[best][0])
    return tuple(made)


def _placed(pool: Pool, places: Order, source: Ranks) -> Placed:
    """Each post with the score of the source that brought it."""
    return Placed(places, pool.scores[source, places], source)


_BLENDS: Mapping[type, Callable[[Any, Pool, Sequence[str], Values, Columns], Placed]] = {
    Fusion: _reciprocal_ranks,
    Quotas: _shared_out,
    Interleave: _interleaved,
}
