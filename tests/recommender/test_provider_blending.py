"""Blending: against fusion by hand, and what always holds."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.config.schema import Blend, Fusion, Interleave, Quotas
from nearfeed_recommender.providers.blending import blend
from nearfeed_recommender.providers.candidates import Candidate, marked_by_score, marked_in_order

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


def hits(ids: Sequence[str]) -> list[Hit]:
    return [Hit(item, 1 - rank / 100) for rank, item in enumerate(ids)]


def blended(rule: Blend, rankings: Mapping[str, Sequence[str]]) -> list[Candidate]:
    return list(blend(rule, {name: hits(ids) for name, ids in rankings.items()}, WEIGHTS))


def ids_of(candidates: Sequence[Candidate]) -> list[str]:
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
        assert candidate.is_of(candidate.source)


@settings(deadline=None)
@given(rule=BLENDS, rankings=RANKINGS)
def test_the_order_in_which_sources_answer_changes_nothing(
    rule: Blend, rankings: dict[str, list[str]]
) -> None:
    assert blended(rule, rankings) == blended(rule, dict(reversed(rankings.items())))


@settings(deadline=None)
@given(rule=BLENDS, ranking=st.lists(st.integers(0, 30).map(str), max_size=15))
def test_a_source_alone_keeps_its_order_and_a_repeat_counts_once(rule: Blend, ranking: list[str]) -> None:
    assert ids_of(blended(rule, {"near": ranking})) == list(dict.fromkeys(ranking))


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


def test_marks_in_order_and_by_score() -> None:
    candidates = [Candidate(item, 1.0, "near") for item in "abc"]
    assert [one.marks for one in marked_in_order("rank", candidates)] == [
        (("rank", n, 1.0),) for n in (1, 2, 3)
    ]
    ranked = marked_by_score("rank", candidates, [0.5, 2.0, 0.5])
    assert ids_of(ranked) == ["b", "a", "c"]
    assert [one.marks for one in ranked] == [(("rank", 1, 2.0),), (("rank", 2, 0.5),), (("rank", 3, 0.5),)]
