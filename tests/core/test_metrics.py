import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nearfeed_core.metrics import bootstrap_mean, ndcg_at, recall_at, top_k


def test_metrics_by_hand() -> None:
    ranked = np.array([4, 7, 1, 9])
    relevant = frozenset({7, 9, 3})
    assert recall_at(ranked, relevant, 2) == pytest.approx(1 / 3)
    assert recall_at(ranked, relevant, 4) == pytest.approx(2 / 3)
    gains = 1 / np.log2(3) + 1 / np.log2(5)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg_at(ranked, relevant, 4) == pytest.approx(gains / ideal)
    assert ndcg_at(ranked, relevant, 1) == 0
    assert ndcg_at(np.array([7, 9, 3]), relevant, 3) == pytest.approx(1)


def test_two_relevant_items_can_fill_a_short_list() -> None:
    assert ndcg_at(np.array([5]), frozenset({5, 6}), 1) == pytest.approx(1)


SCORES = arrays.arrays(np.float32, st.integers(1, 40), elements=st.integers(-5, 5).map(float))


@given(SCORES, st.sets(st.integers(0, 39)), st.integers(1, 45))
def test_top_k_is_the_head_of_a_full_sort(scores: np.ndarray, seen: set[int], k: int) -> None:
    masked = np.array(sorted(item for item in seen if item < len(scores)), dtype=np.intp)
    left = [item for item in range(len(scores)) if item not in seen]
    expected = sorted(left, key=lambda item: (-scores[item], item))[:k]
    assert top_k(scores, masked, k).tolist() == expected


def test_what_scores_minus_infinity_is_not_ranked() -> None:
    scores = np.array([1, -np.inf, 2], dtype=np.float32)
    assert top_k(scores, np.empty(0, dtype=np.intp), 3).tolist() == [2, 0]


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(5, 2, 2_000)
    found = bootstrap_mean(values)
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.01)


def test_a_constant_has_an_interval_without_width() -> None:
    found = bootstrap_mean(np.full(7, 0.25))
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)
