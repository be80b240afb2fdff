"""The plane through vectors is the one of the most variance, and always the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nearfeed_core.projection import fit_projection, unit_rows

VECTORS = st.tuples(st.integers(2, 20), st.integers(2, 6)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-8, 8, width=16))
)


@given(VECTORS)
def test_against_the_singular_vectors(vectors: np.ndarray) -> None:
    plane = fit_projection(vectors)
    rows = unit_rows(vectors.astype(np.float64))
    spread = rows - rows.mean(axis=0)
    values = np.linalg.svd(spread, compute_uv=False) ** 2
    total = values.sum()
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-9)
    kept = (plane.places(vectors) ** 2).sum(axis=0)
    np.testing.assert_allclose(kept, np.pad(values, (0, 2))[:2], atol=1e-7)
    expected = np.pad(values, (0, 2))[:2] / total if total > 1e-12 else np.zeros(2)
    if total > 1e-12:
        np.testing.assert_allclose(plane.shares, expected, atol=1e-6)


@given(VECTORS, st.randoms(use_true_random=False))
def test_a_weighted_mean_lies_at_the_mean_of_the_places(vectors: np.ndarray, random: object) -> None:
    plane = fit_projection(vectors)
    weights = np.linspace(0.1, 1, len(vectors))
    weights /= weights.sum()
    mean = weights @ unit_rows(vectors.astype(np.float64))
    np.testing.assert_allclose(
        weights @ plane.places(vectors), (mean - plane.centre) @ plane.axes.T, atol=1e-9
    )


def test_the_sign_does_not_depend_on_the_order() -> None:
    vectors = np.random.default_rng(3).normal(size=(50, 8))
    plane = fit_projection(vectors)
    turned = fit_projection(vectors[::-1])
    np.testing.assert_allclose(plane.axes, turned.axes, atol=1e-9)
    assert (plane.axes.max(axis=1) == np.abs(plane.axes).max(axis=1)).all()


def test_equal_vectors_lie_at_one_place() -> None:
    plane = fit_projection(np.ones((3, 4)))
    assert plane.shares == pytest.approx([0, 0])
    np.testing.assert_allclose(plane.places(np.ones((3, 4))), 0, atol=1e-12)
