import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nearfeed_core import metrics

# Reader 0 looks for 7, 9 and 3, reader 1 for 2 alone and is shown three items in all.
RANKED = np.array([[4, 7, 1, 9], [5, 6, 0, metrics.NOTHING]])
TARGETS = np.zeros((2, 10), np.bool_)
TARGETS[0, [7, 9, 3]] = True
TARGETS[1, 2] = True
HITS = np.array([[False, True, False, True], [False, False, False, False]])
RELEVANT = np.array([3, 1])


def test_hits_are_ranked_targets() -> None:
    assert metrics.hits_of(RANKED, TARGETS).tolist() == HITS.tolist()


def test_where_nothing_is_ranked_there_is_no_hit() -> None:
    everything = np.ones((1, 3), np.bool_)
    assert metrics.hits_of(np.array([[2, metrics.NOTHING]]), everything).tolist() == [[True, False]]


def test_recall_by_hand() -> None:
    assert metrics.recall(HITS, RELEVANT, 2).tolist() == [1 / 3, 0]
    assert metrics.recall(HITS, RELEVANT, 4).tolist() == [2 / 3, 0]


def test_ndcg_by_hand() -> None:
    gains = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert metrics.ndcg(HITS, RELEVANT, 4).tolist() == pytest.approx([gains / ideal, 0])
    assert metrics.ndcg(HITS, RELEVANT, 1).tolist() == [0, 0]
    # More is relevant than fits: the ideal is cut at k, so that 1 can be reached.
    assert metrics.ndcg(np.array([[True, True]]), np.array([5]), 2).tolist() == pytest.approx([1])
    assert metrics.ndcg(np.array([[False, True]]), np.array([5]), 2).tolist() == pytest.approx(
        [(1 / math.log2(3)) / (1 + 1 / math.log2(3))]
    )


def test_a_ranking_shorter_than_k_keeps_the_ideal_of_k() -> None:
    assert metrics.ndcg(np.array([[True]]), np.array([2]), 3).tolist() == pytest.approx(
        [1 / (1 + 1 / math.log2(3))]
    )


def test_hit_rate_and_reciprocal_rank_by_hand() -> None:
    assert metrics.hit_rate(HITS, 1).tolist() == [0, 0]
    assert metrics.hit_rate(HITS, 2).tolist() == [1, 0]
    assert metrics.reciprocal_rank(HITS, 4).tolist() == [1 / 2, 0]
    assert metrics.reciprocal_rank(HITS, 1).tolist() == [0, 0]


def test_novelty_by_hand() -> None:
    # Of eight readers 8, 4, 2, 1 and 0 have read the items: 0, 1, 2, 3 and, as if by one, 3 bits.
    information = metrics.self_information(np.array([8, 4, 2, 1, 0]), 8)
    assert information.tolist() == [0, 1, 2, 3, 3]
    ranked = np.array([[1, 3, 0], [4, metrics.NOTHING, metrics.NOTHING], [metrics.NOTHING] * 3])
    assert metrics.novelty(ranked, information, 2).tolist() == [2, 3, 0]
    assert metrics.novelty(ranked, information, 3).tolist() == pytest.approx([4 / 3, 3, 0])


def test_popularity_share_by_hand() -> None:
    popular = metrics.most_read(np.array([3, 9, 1, 9, 0, 2, 3, 1, 1, 1]))
    assert np.flatnonzero(popular).tolist() == [1, 3]
    ranked = np.array([[1, 0, 3, 2], [5, 6, metrics.NOTHING, metrics.NOTHING]])
    assert metrics.share(ranked, popular, 4).tolist() == [0.5, 0]
    assert metrics.share(ranked, popular, 1).tolist() == [1, 0]


def test_of_equally_read_items_the_first_are_popular() -> None:
    assert metrics.most_read(np.ones(10, np.intp)).tolist() == [True] * 2 + [False] * 8


def test_coverage_by_hand() -> None:
    ranked = np.array([[0, 1], [0, metrics.NOTHING], [2, 0]])
    assert metrics.coverage(ranked, 5, 1) == pytest.approx(2 / 5)
    assert metrics.coverage(ranked, 5, 2) == pytest.approx(3 / 5)


ELEMENTS = st.one_of(st.integers(-5, 5).map(float), st.just(-math.inf))
SCORES = st.tuples(st.integers(1, 5), st.integers(1, 40)).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=ELEMENTS)
)


@given(SCORES, st.integers(1, 45))
def test_top_k_is_the_head_of_a_full_sort_with_ties_by_column(scores: np.ndarray, k: int) -> None:
    ranked = metrics.top_k(scores, k)
    assert ranked.shape == (len(scores), min(k, scores.shape[1]))
    for row, found in zip(scores, ranked, strict=True):
        left = [item for item in range(len(row)) if row[item] > -math.inf]
        expected = sorted(left, key=lambda item: (-row[item], item))[:k]
        assert found.tolist() == expected + [metrics.NOTHING] * (len(found) - len(expected))


def test_nan_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="NaN"):
        metrics.top_k(np.array([[1, np.nan]], np.float32), 1)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Ranked items, some rows ending early, and targets, at least one a reader."""
    readers, items = draw(st.integers(1, 6)), draw(st.integers(2, 25))
    depth = draw(st.integers(1, items))
    ranked = np.full((readers, depth), metrics.NOTHING)
    targets = np.zeros((readers, items), np.bool_)
    for row in range(readers):
        length = draw(st.integers(0, depth))
        ranked[row, :length] = draw(st.permutations(range(items)))[:length]
        targets[row, sorted(draw(st.sets(st.integers(0, items - 1), min_size=1)))] = True
    return ranked, targets


def slow_ndcg(shown: list[int], relevant: set[int], k: int) -> float:
    gains = sum(1 / math.log2(place + 1) for place, item in enumerate(shown[:k], 1) if item in relevant)
    return gains / sum(1 / math.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1))


def slow_reciprocal_rank(shown: list[int], relevant: set[int], k: int) -> float:
    return next((1 / place for place, item in enumerate(shown[:k], 1) if item in relevant), 0.0)


def slow_mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@given(rankings(), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_metrics_are_those_of_slow_code(ranking: tuple[np.ndarray, np.ndarray], k: int, seed: int) -> None:
    ranked, targets = ranking
    hits, relevant = metrics.hits_of(ranked, targets), targets.sum(axis=1)
    readers_of = np.random.default_rng(seed).integers(0, 9, targets.shape[1])
    information, popular = metrics.self_information(readers_of, 8), metrics.most_read(readers_of)
    found = np.stack(
        [
            metrics.recall(hits, relevant, k),
            metrics.ndcg(hits, relevant, k),
            metrics.hit_rate(hits, k),
            metrics.reciprocal_rank(hits, k),
            metrics.novelty(ranked, information, k),
            metrics.share(ranked, popular, k),
        ],
        axis=1,
    )
    everything = set()
    for row in range(len(ranked)):
        shown = [int(item) for item in ranked[row] if item != metrics.NOTHING]
        wanted = set(np.flatnonzero(targets[row]).tolist())
        head = shown[:k]
        everything |= set(head)
        assert found[row].tolist() == pytest.approx(
            [
                len(wanted & set(head)) / len(wanted),
                slow_ndcg(shown, wanted, k),
                float(bool(wanted & set(head))),
                slow_reciprocal_rank(shown, wanted, k),
                slow_mean([math.log2(8 / max(1, readers_of[item])) for item in head]),
                slow_mean([float(popular[item]) for item in head]),
            ]
        )
    assert metrics.coverage(ranked, targets.shape[1], k) == len(everything) / targets.shape[1]


@pytest.mark.parametrize("k", [10, 20, 50])
def test_metrics_are_those_of_trec_eval(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.permuted(np.tile(np.arange(300, dtype=np.float32), (200, 1)), axis=1)
    targets = rng.random((200, 300)) < rng.choice([0.01, 0.05, 0.3], (200, 1))
    scores, targets = scores[targets.any(axis=1)], targets[targets.any(axis=1)]
    ranked = metrics.top_k(scores, 50)
    hits, relevant = metrics.hits_of(ranked, targets), targets.sum(axis=1)

    judged = {
        f"r{row}": {f"i{item}": 1 for item in np.flatnonzero(wanted)} for row, wanted in enumerate(targets)
    }
    run = {
        f"r{row}": {f"i{item}": float(values[item]) for item in range(300)}
        for row, values in enumerate(scores)
    }
    head = {
        f"r{row}": {f"i{item}": float(scores[row, item]) for item in shown[:k]}
        for row, shown in enumerate(ranked)
    }
    names = {f"recall.{k}", f"ndcg_cut.{k}", f"success.{k}"}
    told = pytrec_eval.RelevanceEvaluator(judged, names).evaluate(run)
    told_of_head = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(head)
    for row, (recall, ndcg, hit, rank) in enumerate(
        zip(
            metrics.recall(hits, relevant, k),
            metrics.ndcg(hits, relevant, k),
            metrics.hit_rate(hits, k),
            metrics.reciprocal_rank(hits, k),
            strict=True,
        )
    ):
        expected = told[f"r{row}"]
        assert recall == pytest.approx(expected[f"recall_{k}"])
        assert ndcg == pytest.approx(expected[f"ndcg_cut_{k}"])
        assert hit == expected[f"success_{k}"]
        assert rank == pytest.approx(told_of_head[f"r{row}"]["recip_rank"])
