"""Fusion over arrays against the same rules post by post."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_core.fusion import fused
from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.config.schema import Blend, Fusion, Interleave, Quotas
from nearfeed_recommender.pipeline.candidates import NEW, Candidates, Found, Mark, Trace
from nearfeed_recommender.pipeline.fuse import Fuser, turns

NAMES = ("near", "walk", "popular", "latest")
Ranked = Mapping[str, float]
"""What a source has found, best first, with scores."""
Placed = tuple[str, float, str]

quick = settings(max_examples=150, deadline=None)
columns = Columns()
columns.reserve([str(number) for number in (17, 4, 30, 9, 0, 22)] + [str(number) for number in range(31)])

rankings = st.dictionaries(
    st.sampled_from(NAMES),
    st.lists(st.integers(0, 30).map(str), unique=True, max_size=15).flatmap(
        lambda ids: st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0]), min_size=len(ids), max_size=len(ids)).map(
            lambda scores: dict(zip(ids, scores, strict=True))
        )
    ),
)
weights = st.tuples(*[st.sampled_from([0.5, 1.0, 1.0, 3.0])] * len(NAMES)).map(
    lambda values: dict(zip(NAMES, values, strict=True))
)
shares = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 1.0]), min_size=1)
blends = st.one_of(
    st.builds(Fusion, type=st.just("rrf"), k=st.sampled_from([0.0, 1.0, 60.0])),
    st.builds(Quotas, type=st.just("quotas"), shares=shares),
    st.just(Interleave(type="interleave")),
)


def one_by_one(rule: Blend, found: Mapping[str, Ranked], weights: Mapping[str, float]) -> list[Placed]:
    """The order by the definition of each blend, a post at a time."""
    lists = {name: found[name] for name in NAMES if name in found}
    if isinstance(rule, Fusion):
        return list(_fused(rule.k, lists, weights))
    placed: dict[str, Placed] = {}
    lists = {name: ranked for name, ranked in lists.items() if ranked}  # who found nothing has no share
    with_share = {name: ranked for name, ranked in lists.items() if name in getattr(rule, "shares", ())}
    if isinstance(rule, Quotas):
        _share_out({name: rule.shares[name] for name in with_share}, with_share, placed)
    _take_turns({name: ranked for name, ranked in lists.items() if name not in with_share}, placed)
    return list(placed.values())


def _fused(k: float, lists: Mapping[str, Ranked], weights: Mapping[str, float]) -> Iterator[Placed]:
    for item, score in fused(lists, weights, k).items():
        adds = {
            name: weights[name] / (k + 1 + list(ranked).index(item))
            for name, ranked in lists.items()
            if item in ranked
        }
        yield item, score, max(adds, key=adds.__getitem__)


def _take_turns(lists: Mapping[str, Ranked], placed: dict[str, Placed]) -> None:
    for turn in zip_longest(
        *([(item, score, name) for item, score in ranked.items()] for name, ranked in lists.items())
    ):
        for post in turn:
            if post is not None:
                placed.setdefault(post[0], post)


def _share_out(shares: dict[str, float], lists: Mapping[str, Ranked], placed: dict[str, Placed]) -> None:
    counts = dict.fromkeys(shares, 0)
    while shares:
        places = 1 + sum(counts.values())
        total = sum(shares.values())
        below = [name for name, share in shares.items() if counts[name] * total < share * places]
        name = max(below, key=lambda name: shares[name] / (counts[name] + 1))
        item = next((item for item in lists[name] if item not in placed), None)
        if item is None:
            del shares[name], counts[name]
        else:
            counts[name] += 1
            placed[item] = item, lists[name][item], name


def found_of(found: Mapping[str, Ranked]) -> dict[str, Found]:
    return {
        name: Found(columns.rows_of(ranked), np.array(list(ranked.values()), np.float64))
        for name, ranked in found.items()
    }


def fuse(
    rule: Blend, found: Mapping[str, Ranked], weights: Mapping[str, float], trace: Trace | None = None
) -> Candidates:
    fuser = Fuser(rule, NAMES, [weights[name] for name in NAMES])
    return fuser.fuse(found_of(found), columns, trace)


def ids_of(candidates: Candidates) -> list[str]:
    return [columns.ids[row] for row in candidates.rows.tolist()]


def placed_of(candidates: Candidates) -> list[Placed]:
    sources = [candidates.names[number] for number in candidates.source.tolist()]
    return list(zip(ids_of(candidates), candidates.scores.tolist(), sources, strict=True))


@quick
@given(rule=blends, found=rankings, weights=weights)
def test_the_order_is_that_of_the_definition(
    rule: Blend, found: dict[str, dict[str, float]], weights: dict[str, float]
) -> None:
    assert placed_of(fuse(rule, found, weights)) == one_by_one(rule, found, weights)


@quick
@given(rule=blends, found=rankings, weights=weights)
def test_each_candidate_has_rank_and_score_of_every_source_that_found_it(
    rule: Blend, found: dict[str, dict[str, float]], weights: dict[str, float]
) -> None:
    trace = Trace()
    candidates = fuse(rule, found, weights, trace)
    assert candidates.names == (*NAMES, NEW)
    for place, item in enumerate(ids_of(candidates)):
        expected = [
            (name, 1 + list(found[name]).index(item), found[name][item])
            for name in NAMES
            if item in found.get(name, ())
        ]
        assert list(candidates.found_by(place)) == expected
        marks = [Mark(f"source:{name}", rank, score) for name, rank, score in expected]
        blend = Mark("blend", place + 1, float(candidates.scores[place]))
        assert trace.of(int(candidates.rows[place])) == (*marks, blend)


@quick
@given(rule=blends, found=rankings, weights=weights)
def test_the_order_in_which_sources_answer_changes_nothing(
    rule: Blend, found: dict[str, dict[str, float]], weights: dict[str, float]
) -> None:
    other = fuse(rule, dict(reversed(found.items())), weights)
    assert placed_of(fuse(rule, found, weights)) == placed_of(other)


@quick
@given(shares=shares, most=st.integers(1, 60))
def test_after_every_place_each_source_has_its_share_rounded_up_or_down(
    shares: dict[str, float], most: int
) -> None:
    numbered = tuple(enumerate(shares.values()))
    made = turns(numbered, (0,) * len(numbered), most)
    total = sum(shares.values())
    assert len(made) == most
    for places in range(1, most + 1):
        for number, share in numbered:
            assert abs(made[:places].count(number) - places * share / total) < 1 + 1e-9


@quick
@given(shares=shares, first=st.integers(0, 20), more=st.integers(1, 20))
def test_turns_go_on_from_any_place(shares: dict[str, float], first: int, more: int) -> None:
    numbered = tuple(enumerate(shares.values()))
    whole = turns(numbered, (0,) * len(numbered), first + more)
    counts = tuple(whole[:first].count(number) for number, _ in numbered)
    assert turns(numbered, counts, more) == whole[first:]


@pytest.mark.parametrize("found", [{}, {"near": {}}, {"near": {}, "latest": {}}])
def test_nothing_found_is_no_candidate(found: dict[str, dict[str, float]]) -> None:
    for rule in (
        Fusion(type="rrf"),
        Interleave(type="interleave"),
        Quotas(type="quotas", shares={"near": 1}),
    ):
        candidates = fuse(rule, found, dict.fromkeys(NAMES, 1.0))
        assert len(candidates) == 0
        assert candidates.ranks.shape == candidates.source_scores.shape == (len(NAMES), 0)


def test_equal_scores_go_by_id_though_rows_do_not() -> None:
    rows = columns.rows_of(["17", "4", "30"]).tolist()
    assert rows == sorted(rows)
    found = {"near": {"17": 1.0}, "walk": {"4": 1.0}, "popular": {"30": 1.0}}
    candidates = fuse(Fusion(type="rrf", k=60), found, dict.fromkeys(NAMES, 1.0))
    assert ids_of(candidates) == ["17", "30", "4"]
