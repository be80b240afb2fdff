import numpy as np
import pytest

from nearfeed_contracts.runs import Block
from nearfeed_core.readings import DAY_MICROS
from nearfeed_core.splits import split_by_time
from nearfeed_embedder.baselines import SHRINKAGE, item_knn, item_similarities, popularity
from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.evaluation import Case, Ranking, by_vectors, cases_of, compare, rank


def readings_of(*rows: tuple[int, int, int]) -> Readings:
    """Of (reader, item, day), each of weight 1."""
    reader, item, day = (np.array(column) for column in zip(*rows, strict=True))
    return Readings(reader, item, day * DAY_MICROS, np.ones(len(rows))).sorted()


def case_of(items: list[int], relevant: set[int]) -> Case:
    rows = np.array(items, dtype=np.intp)
    return Case(rows, np.ones(len(items)), rows, frozenset(relevant))


def test_popularity_ranks_by_readers_and_masks_what_was_read() -> None:
    readings = readings_of((0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0), (0, 2, 0))
    known = np.array([True, True, True, False])
    # Reader has read item 0; items 1 and 2 are left, in this order.
    ranking = rank(popularity(readings, 4), [case_of([0], {2})], known)
    assert ranking.recall.tolist() == [1.0]
    assert ranking.ndcg.tolist() == pytest.approx([1 / np.log2(3)])


def test_an_unknown_post_is_never_ranked() -> None:
    scores = np.array([[1.0, 9.0]], dtype=np.float32)
    ranking = rank(lambda cases: scores.copy(), [case_of([], {1})], np.array([True, False]))
    assert ranking.recall.tolist() == [0.0]


def test_item_similarity_by_hand() -> None:
    # Items 0 and 1 share readers 0 and 1; item 2 is read by reader 1 alone.
    readings = readings_of((0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (1, 2, 0))
    similar = item_similarities(readings, 3, 5).toarray()
    assert similar[0, 1] == pytest.approx(2 / (2 + SHRINKAGE))
    assert similar[1, 2] == pytest.approx(1 / (np.sqrt(2) + SHRINKAGE))
    assert np.diag(similar).tolist() == [0, 0, 0]
    nearest = item_similarities(readings, 3, 1).toarray()
    assert nearest[0].tolist() == [0, similar[0, 1], 0]
    scores = item_knn(readings, 3)([case_of([0, 1], set())])
    assert scores[0] == pytest.approx((similar[0] + similar[1]) / 2)


def test_a_case_has_the_weights_of_the_moment_and_no_target() -> None:
    rows = readings_of(*((1, item, 0) for item in range(7)), *((0, item, 10 + item) for item in range(7)))
    split = split_by_time(rows.reader, rows.item, rows.time, 7, share=0.5, least_later=4)
    (case,) = cases_of(rows, split, half_life_days=1.0)
    assert case.items.tolist() == [0, 1, 2]
    assert case.weights.tolist() == [0.25, 0.5, 1.0]
    assert case.relevant == {3, 4, 5, 6}


def test_vectors_are_scored_as_served() -> None:
    vectors = np.eye(3, dtype=np.float32)
    contexts = np.array([[2, 0, 0], [0, 4, 0], [0, 0, 1]], dtype=np.float32)
    case = Case(np.array([0, 1]), np.array([1.0, 3.0]), np.array([0, 1]), frozenset({2}))
    scores = by_vectors(vectors, contexts, [Block(start=0, dim=3)])([case])
    assert scores[0].tolist() == [0.5, 3.0, 0.0]


def test_gains_are_paired() -> None:
    model = Ranking(np.array([0.5, 0.9]), np.array([0.4, 0.8]))
    other = Ranking(np.array([0.4, 0.8]), np.array([0.4, 0.8]))
    metrics = compare("model", {"model": model, "other": other})
    assert metrics["readers"] == 2
    assert metrics["models"]["model"]["recall@20"]["mean"] == pytest.approx(0.7)
    gain = metrics["gains"]["other"]["recall@20"]
    assert (gain["low"], gain["high"]) == pytest.approx((0.1, 0.1))
