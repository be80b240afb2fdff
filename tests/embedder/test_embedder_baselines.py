from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder.baselines import ease as ease_module
from nearfeed_embedder.baselines.als import als
from nearfeed_embedder.baselines.ease import TooManyItemsError, ease, ease_weights
from nearfeed_embedder.baselines.item_knn import SHRINKAGE, item_knn, item_knn_bm25, item_similarities
from nearfeed_embedder.baselines.popularity import popularity, recent_popularity
from nearfeed_embedder.evaluation.split import Scorer, matrix_of

# Items 0 and 1 share readers 0 and 1; item 2 is read by reader 1 alone.
TRAIN = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 1]], np.float32))
BOTH = np.array([0, 1])


def random_readings(seed: int, readers: int = 40, items: int = 12) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix((rng.random((readers, items)) < 0.3).astype(np.float32))


def tastes(readers: int = 60, items: int = 30, seed: int = 0) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Readers read half of the posts of their taste; what they left of it (readers, items)."""
    rng = np.random.default_rng(seed)
    own = np.arange(readers)[:, None] % 3 == np.arange(items)[None, :] % 3
    read = own & (rng.random(own.shape) < 0.5)
    return sparse.csr_matrix(read.astype(np.float32)), own & ~read


def test_popularity_counts_readers_and_is_the_same_for_all() -> None:
    assert popularity(TRAIN)(BOTH).tolist() == [[2, 2, 1]] * 2


def test_recent_popularity_counts_within_its_window_and_breaks_ties_by_all_of_it() -> None:
    train = matrix_of(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 1]), (2, 4))
    times = np.array([9, 1, 8, 1]) * DAY_MICROS
    score = recent_popularity(train, times, 10 * DAY_MICROS, days=2)
    assert np.argsort(-score(np.array([0]))[0], kind="stable").tolist() == [0, 2, 1, 3]
    assert np.floor(score(BOTH)).tolist() == [[1, 0, 1, 0]] * 2


def test_item_similarity_by_hand() -> None:
    similar = item_similarities(TRAIN, 5, SHRINKAGE).toarray()
    assert similar[0, 1] == pytest.approx(2 / (2 + SHRINKAGE))
    assert similar[1, 2] == pytest.approx(1 / (np.sqrt(2) + SHRINKAGE))
    assert np.diag(similar).tolist() == [0, 0, 0]
    nearest = item_similarities(TRAIN, 1, SHRINKAGE).toarray()
    assert nearest[0].tolist() == [0, similar[0, 1], 0]
    history = sparse.csr_matrix(np.array([[0.5, 0.5, 0]], np.float32))
    scores = item_knn(TRAIN, history)(np.array([0]))
    assert scores[0] == pytest.approx((similar[0] + similar[1]) / 2)


def test_without_shrinkage_it_is_the_plain_cosine_also_where_nobody_has_read() -> None:
    train = sparse.hstack([TRAIN, sparse.csr_matrix((2, 1), dtype=np.float32)], format="csr")
    similar = item_similarities(train, 5, 0).toarray()
    assert similar[0].tolist() == pytest.approx([0, 1, 1 / np.sqrt(2), 0])
    assert np.isfinite(similar).all()


def test_bm25_by_hand() -> None:
    k1, b = 2.0, 0.5
    train = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]], np.float32)
    rare = np.log(3) - np.log1p(train.sum(axis=1))
    length = 1 - b + b * train.sum(axis=0) / train.sum(axis=0).mean()
    weighted = train * rare[:, None] * (k1 + 1) / (k1 * length + train)
    size = np.linalg.norm(weighted, axis=0)
    expected = (weighted.T @ weighted) / np.outer(size, size)
    np.fill_diagonal(expected, 0)
    history = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    scores = item_knn_bm25(sparse.csr_matrix(train), history, k1=k1, b=b)(np.arange(3))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@given(st.integers(0, 1_000), st.floats(0.5, 50))
def test_ease_is_the_best_matrix_with_a_diagonal_of_0(seed: int, ridge: float) -> None:
    train = random_readings(seed)
    read, weights = train.toarray().astype(np.float64), ease_weights(train, ridge)
    assert (np.diag(weights) == 0).all()
    for item in range(read.shape[1]):
        # Each column is the ridge regression of one item on all others.
        others = np.delete(read, item, axis=1)
        own = np.linalg.solve(others.T @ others + ridge * np.eye(others.shape[1]), others.T @ read[:, item])
        np.testing.assert_allclose(np.delete(weights[:, item], item), own, atol=1e-5)


def test_ease_scores_weighted_histories() -> None:
    train = random_readings(0)
    history = train.copy()
    history.data[:] = np.linspace(0.1, 1, history.nnz)
    scores = ease(train, history, ridge=3.0)(np.array([4, 1]))
    np.testing.assert_allclose(scores, history.toarray()[[4, 1]] @ ease_weights(train, 3.0), rtol=1e-5)


def test_ease_refuses_more_items_than_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease_module, "MOST_ITEMS", 11)
    with pytest.raises(TooManyItemsError, match="12 are more than 11"):
        ease(random_readings(0), random_readings(0))


def test_als_scores_are_the_fold_in_of_the_history() -> None:
    train, _ = tastes()
    score = als(train, train, factors=4, alpha=3.0, ridge=0.5, iterations=5)
    again = als(train, train, factors=4, alpha=3.0, ridge=0.5, iterations=5)
    np.testing.assert_array_equal(score(np.arange(60)), again(np.arange(60)))
    part = score(np.array([7, 3]))
    np.testing.assert_allclose(part, score(np.arange(60))[[7, 3]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "options"),
    [(item_knn, {}), (item_knn_bm25, {}), (ease, {}), (als, {"factors": 3, "alpha": 3.0, "ridge": 5.0})],
)
def test_a_baseline_finds_the_rest_of_a_taste(
    model: Callable[..., Scorer], options: dict[str, float]
) -> None:
    train, left = tastes()
    scores = model(train, train, **options)(np.arange(60))
    for reader, (row, wanted) in enumerate(zip(scores, left, strict=True)):
        others = np.arange(30) % 3 != reader % 3
        assert row[wanted].min() > row[others].max()
