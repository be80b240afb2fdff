"""Fusing what sources have found: against fusion by hand, and what always holds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommender.pipeline_inputs import (
    Hits,
    Listed,
    candidates_of,
    columns_of,
    found_of,
    listed,
    post,
    query_of,
)

from nearfeed_recommender.catalog.columns import Columns
from nearfeed_recommender.config.schema import Blend, Fusion, Interleave, Quotas
from nearfeed_recommender.pipeline.candidates import Trace
from nearfeed_recommender.pipeline.fuse import Fuser
from nearfeed_recommender.pipeline.rank import by_scores
from nearfeed_recommender.pipeline.search import first_eligible

NAMES = ("near", "walk", "popular", "new")
WEIGHTS = {"near": 1.0, "walk": 2.0, "popular": 0.5, "new": 1.0}
RANKINGS = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.integers(0, 30).map(str), unique=True, max_size=15)
)
SHARES = st.dictionaries(st.sampled_from(NAMES), st.floats(0.05, 1), min_size=1)
BLENDS = st.one_of(
    st.builds(Fusion, type=st.just("rrf"), k=st.sampled_from([0.0, 1.0, 60.0])),
    st.builds(Quotas, type=st.just("quotas"), shares=SHARES),
    st.just(Interleave(type="interleave")),
)


def hits(ids: Sequence[str]) -> Hits:
    return [(item, 1 - rank / 100) for rank, item in enumerate(ids)]


def blended(rule: Blend, rankings: Mapping[str, Sequence[str]]) -> list[Listed]:
    columns = Columns()
    fuser = Fuser(rule, list(WEIGHTS), list(WEIGHTS.values()))
    found = {name: found_of(columns, hits(ids)) for name, ids in rankings.items()}
    return listed(columns, fuser.fuse(found, columns, Trace()))


def ids_of(candidates: Sequence[Listed]) -> list[str]:
    return [candidate.item_id for candidate in candidates]


@settings(deadline=None)
@given(rule=BLENDS, rankings=RANKINGS)
def test_each_post_stands_once_with_a_mark_of_every_source_and_of_the_blend(
    rule: Blend, rankings: dict[str, list[str]]
) -> None:
    candidates = blended(rule, rankings)
    assert sorted(ids_of(candidates)) == sorted({item for ids in rankings.values() for item in ids})
    for place, candidate in enumerate(candidates, start=1):
        *marks, last = candidate.marks
        assert last == ("blend", place, candidate.score)
        assert marks == [
            (
                f"source:{name}",
                1 + rankings[name].index(candidate.item_id),
                1 - rankings[name].index(candidate.item_id) / 100,
            )
            for name in NAMES
            if candidate.item_id in rankings.get(name, ())
        ]
        assert candidate.source in candidate.found_by


@settings(deadline=None)
@given(rule=BLENDS, rankings=RANKINGS)
def test_the_order_in_which_sources_answer_changes_nothing(
    rule: Blend, rankings: dict[str, list[str]]
) -> None:
    assert blended(rule, rankings) == blended(rule, dict(reversed(rankings.items())))


@settings(deadline=None)
@given(rule=BLENDS, ranking=st.lists(st.integers(0, 30).map(str), unique=True, max_size=15))
def test_a_source_alone_keeps_its_order(rule: Blend, ranking: list[str]) -> None:
    assert ids_of(blended(rule, {"near": ranking})) == ranking


@given(ranking=st.lists(st.integers(0, 30).map(str), max_size=15), limit=st.integers(1, 15))
def test_a_repeat_among_what_a_source_finds_counts_once_where_it_is_best(
    ranking: list[str], limit: int
) -> None:
    columns = columns_of(post(str(number)) for number in range(31))
    rows, scores = found_of(columns, hits(ranking))
    found = first_eligible(rows, scores, query_of(columns).eligibility(()), limit)
    wanted = {item: score for item, score in reversed(hits(ranking))}
    best = sorted(wanted.items(), key=lambda hit: -hit[1])[:limit]
    assert [(columns.ids[row], score) for row, score in zip(*found, strict=True)] == best


def test_a_fused_post_comes_from_the_source_that_adds_most() -> None:
    candidates = blended(Fusion(type="rrf", k=1), {"near": ["a", "b"], "walk": ["c", "b"]})
    assert [(one.item_id, one.source) for one in candidates] == [("b", "walk"), ("c", "walk"), ("a", "near")]
    assert [one.score for one in candidates] == pytest.approx([1 / 3 + 2 / 3, 1.0, 0.5])


def test_interleaving_by_hand() -> None:
    rankings = {"near": ["a", "b", "c"], "walk": ["b", "d"], "new": ["e"]}
    candidates = blended(Interleave(type="interleave"), rankings)
    assert "".join(ids_of(candidates)) == "abedc"
    assert [one.source for one in candidates] == ["near", "walk", "new", "walk", "near"]


def test_quotas_by_hand() -> None:
    rankings = {"near": ["a", "b", "c", "d", "e"], "walk": ["a", "v", "w"], "new": ["n", "o"]}
    candidates = blended(Quotas(type="quotas", shares={"near": 0.5, "walk": 0.25}), rankings)
    assert "".join(ids_of(candidates)) == "abvcdweno"
    assert [one.source for one in candidates][:4] == ["near", "near", "walk", "near"]


@settings(deadline=None)
@given(shares=SHARES, places=st.integers(1, 60))
def test_until_a_source_runs_out_each_has_its_share_rounded_up_or_down(
    shares: dict[str, float], places: int
) -> None:
    rankings = {name: [f"{name}{rank}" for rank in range(60)] for name in shares}
    sources = [one.source for one in blended(Quotas(type="quotas", shares=shares), rankings)][:places]
    for name, share in shares.items():
        assert abs(sources.count(name) - places * share / sum(shares.values())) < 1 + 1e-9


@settings(deadline=None)
@given(shares=SHARES, rankings=RANKINGS)
def test_in_quotas_each_source_gives_its_posts_in_its_order(
    shares: dict[str, float], rankings: dict[str, list[str]]
) -> None:
    candidates = blended(Quotas(type="quotas", shares=shares), rankings)
    placed = ids_of(candidates)
    for name, ranking in rankings.items():
        own = [one.item_id for one in candidates if one.source == name]
        assert own == [item for item in ranking if item in own]
        if own and name in shares:
            passed_over = ranking[: ranking.index(own[-1])]
            assert all(placed.index(item) < placed.index(own[-1]) for item in passed_over)
    has_share = [one.source in shares for one in candidates]
    assert has_share == sorted(has_share, reverse=True)


def test_marks_by_score() -> None:
    columns = Columns()
    ranked = listed(
        columns,
        by_scores(candidates_of(columns, dict.fromkeys("abc", 1.0), {}, ["near"]), np.array([0.5, 2.0, 0.5])),
    )
    assert ids_of(ranked) == ["b", "a", "c"]
    assert [one.marks for one in ranked] == [(("rank", 1, 2.0),), (("rank", 2, 0.5),), (("rank", 3, 0.5),)]


def test_marks_of_the_candidates_that_were_scored_alone() -> None:
    columns = Columns()
    ranked = listed(
        columns,
        by_scores(candidates_of(columns, dict.fromkeys("abc", 1.0), {}, ["near"]), np.array([0.5, 2.0])),
    )
    assert [(one.item_id, one.score) for one in ranked] == [("b", 2.0), ("a", 0.5), ("c", 1.0)]
    assert [one.marks for one in ranked] == [(("rank", 1, 2.0),), (("rank", 2, 0.5),), ()]
