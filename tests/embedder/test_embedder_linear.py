"""The linear roles against their definition with dense matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from nearfeed_embedder.baselines.ease import ease_weights
from nearfeed_embedder.linear.autoencoder import LinearRule, fit_roles


def readings(seed: int, readers: int, posts: int) -> sparse.csr_matrix:
    drawn = np.random.default_rng(seed).random((readers, posts)) < 0.35
    return sparse.csr_matrix(drawn.astype(np.float32))


def by_definition(read: np.ndarray, rule: LinearRule) -> np.ndarray:
    """X B V Vᵀ, with V by a singular value decomposition."""
    read = read[:, read.sum(0) > 0]
    count = read.sum(1)
    counted = (
        read[count > 0] * np.sqrt((count[count > 0].mean() / count[count > 0]) ** rule.reader_power)[:, None]
    )
    gram = counted.T @ counted
    penalty = rule.ridge + rule.dropout / (1 - rule.dropout) * np.diag(gram)
    inverse = np.linalg.inv(gram + np.diag(penalty))
    weights = np.eye(len(gram)) - inverse / np.diag(inverse)
    _, _, right = np.linalg.svd(counted @ weights, full_matrices=False)
    kept = right[: rule.dim]
    return read @ weights @ kept.T @ kept


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    readers=st.integers(2, 30),
    posts=st.integers(2, 30),
    dim=st.integers(1, 12),
    ridge=st.floats(0.5, 50),
    dropout=st.floats(0, 0.8),
    power=st.floats(0, 1),
)
def test_scores_are_those_of_the_definition(
    seed: int, readers: int, posts: int, dim: int, ridge: float, dropout: float, power: float
) -> None:
    read = readings(seed, readers, posts)
    rule = LinearRule(dim, ridge, dropout, power)
    expected = by_definition(read.toarray().astype(np.float64), rule)
    roles = fit_roles(read, rule)
    assert roles.contexts.shape == roles.vectors.shape == (posts, dim)
    assert np.array_equal(roles.known, read.toarray().any(0))
    scores = (read @ roles.contexts) @ roles.vectors.T
    assert np.abs(scores[:, roles.known] - expected).max(initial=0) < 1e-4
    assert not roles.contexts[~roles.known].any()
    assert not roles.vectors[~roles.known].any()


@pytest.mark.parametrize(("readers", "posts"), [(60, 20), (15, 20)])
def test_at_full_rank_it_is_ease(readers: int, posts: int) -> None:
    read = readings(1, readers, posts)
    roles = fit_roles(read, LinearRule(dim=posts, ridge=5.0, dropout=0.0, reader_power=0.0))
    expected = read @ ease_weights(read, 5.0)
    assert np.allclose((read @ roles.contexts) @ roles.vectors.T, expected, atol=1e-4)


def test_the_least_read_posts_are_left_out() -> None:
    read = readings(2, 50, 20)
    roles = fit_roles(read, LinearRule(dim=4, most_posts=8))
    counts = np.asarray(read.sum(0)).ravel()
    assert roles.known.sum() == 8
    assert counts[roles.known].min() >= counts[~roles.known].max()


def test_one_seedless_answer() -> None:
    first, second = (fit_roles(readings(3, 400, 120), LinearRule(dim=8)) for _ in range(2))
    assert np.array_equal(first.vectors, second.vectors)
    assert np.array_equal(first.contexts, second.contexts)
