"""Pooling: each way against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfeed_contracts.runs import Block
from nearfeed_core.pooling import pool_reader


def readings(seed: int, n: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)).astype(np.float32), rng.uniform(0.1, 2, size=n)


@given(seed=st.integers(0, 1_000), n=st.integers(1, 12))
def test_blocks_are_pooled_side_by_side(seed: int, n: int) -> None:
    contexts, weights = readings(seed, n, 7)
    blocks = [
        Block(start=0, dim=3, pooling="mean", normalize=True),
        Block(start=3, dim=2, pooling="sum", scale=0.5),
        Block(start=5, dim=2, pooling="ridge"),
    ]
    pooled = pool_reader(contexts, list(weights), blocks)
    rows = contexts.astype(np.float64)
    mean = np.average(rows[:, :3], axis=0, weights=weights)
    assert pooled[:3] == pytest.approx(mean / np.linalg.norm(mean))
    assert pooled[3:5] == pytest.approx(0.5 * (weights[:, None] * rows[:, 3:5]).sum(axis=0))
    gram = np.eye(2) + sum(w * np.outer(v, v) for w, v in zip(weights, rows[:, 5:], strict=True))
    assert pooled[5:] == pytest.approx(np.linalg.inv(gram) @ (weights @ rows[:, 5:]))


def test_ridge_counts_similar_readings_less() -> None:
    block = [Block(start=0, dim=2, pooling="ridge")]
    twice = np.array([[3, 0], [3, 0], [0, 3]], dtype=np.float32)
    along, across = pool_reader(twice, [1, 1, 1], block)
    assert along < 2 * across


def test_the_order_of_readings_does_not_matter() -> None:
    contexts, weights = readings(0, 9, 4)
    blocks = [Block(start=0, dim=4, pooling="ridge")]
    order = np.random.default_rng(1).permutation(9)
    assert pool_reader(contexts, list(weights), blocks) == pytest.approx(
        pool_reader(contexts[order], list(weights[order]), blocks)
    )


def test_nobody_without_readings_has_a_direction() -> None:
    empty = np.empty((0, 4), dtype=np.float32)
    assert pool_reader(empty, [], [Block(start=0, dim=4)]).tolist() == [0, 0, 0, 0]
