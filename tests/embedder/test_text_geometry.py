import math

import numpy as np
import pytest
from benchmarks.geometry import alignment, uniformity
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist


def unit_vectors(n: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_alignment_by_hand() -> None:
    # Squared distances of equal, orthogonal and opposite vectors: 0, 2 and 4.
    first = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    second = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert alignment(first[:2], second[:2]) == 1
    assert alignment(first, second) == 2


def test_uniformity_by_hand() -> None:
    # East, north and west: two pairs at a squared distance of 2, one at 4.
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert uniformity(vectors) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))
    assert uniformity(vectors[[0, 2]]) == pytest.approx(-8)
    assert uniformity(vectors[[0, 0]]) == pytest.approx(0)


@given(n=st.integers(2, 40), dim=st.integers(1, 8), seed=st.integers(0, 1000))
def test_uniformity_is_that_of_all_distances(n: int, dim: int, seed: int) -> None:
    vectors = unit_vectors(n, dim, seed)
    expected = np.log(np.exp(-2 * pdist(vectors) ** 2).mean())
    assert uniformity(vectors) == pytest.approx(expected, abs=1e-9)


def test_many_vectors_are_taken_in_parts() -> None:
    vectors = unit_vectors(2_500, 5, 0).astype(np.float32)
    expected = np.log(np.exp(-2 * pdist(vectors.astype(np.float64)) ** 2).mean())
    assert uniformity(vectors) == pytest.approx(expected, abs=1e-6)


def test_too_few_vectors_are_told() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        alignment(np.empty((0, 3)), np.empty((0, 3)))
    with pytest.raises(ValueError, match="at least two vectors"):
        uniformity(np.ones((1, 3)))
