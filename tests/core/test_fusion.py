import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfeed_core.fusion import fused

RANKINGS = st.dictionaries(
    st.sampled_from(["near", "walk", "popular"]),
    st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8),
)
WEIGHTS = st.fixed_dictionaries(
    {name: st.sampled_from([0.5, 1.0, 3.0]) for name in ("near", "walk", "popular")}
)


def test_fusion_by_hand() -> None:
    scores = fused({"near": ["a", "b"], "walk": ["b", "c"]}, {"near": 1.0, "walk": 2.0}, k=1.0)
    assert list(scores) == ["b", "c", "a"]
    assert list(scores.values()) == pytest.approx([1 / 3 + 2 / 2, 2 / 3, 1 / 2])


@settings(deadline=None)
@given(rankings=RANKINGS, weights=WEIGHTS, k=st.sampled_from([0.0, 1.0, 60.0]))
def test_a_score_is_the_sum_over_the_rankings_that_have_the_item(
    rankings: dict[str, list[str]], weights: dict[str, float], k: float
) -> None:
    items = {item for ranking in rankings.values() for item in ranking}
    wanted = {
        item: sum(
            weights[name] / (k + 1 + ranking.index(item))
            for name, ranking in rankings.items()
            if item in ranking
        )
        for item in items
    }
    scores = fused(rankings, weights, k)
    assert scores == pytest.approx(wanted)
    assert list(scores) == sorted(scores, key=lambda item: (-scores[item], item))
