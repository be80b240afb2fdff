"""Metrics of full rankings, one value per reader, and intervals over readers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def top_k(scores: NDArray[np.float32], seen: NDArray[np.intp], k: int) -> NDArray[np.intp]:
    """The k best columns of each row of scores (items), `seen` masked, best first; ties by column."""
    masked = scores.astype(np.float64, copy=True)
    masked[seen] = -np.inf
    order = np.argsort(-masked, kind="stable")[:k]
    return np.asarray(order[np.isfinite(masked[order])], dtype=np.intp)


def recall_at(ranked: Sequence[int] | NDArray[np.intp], relevant: frozenset[int], k: int) -> float:
    """Hits among the first k over the number of relevant items."""
    return sum(int(item) in relevant for item in ranked[:k]) / len(relevant)


def ndcg_at(ranked: Sequence[int] | NDArray[np.intp], relevant: frozenset[int], k: int) -> float:
    """Binary NDCG: gains 1 / log2(rank + 1), over that of the best possible ranking."""
    gains = sum(1 / np.log2(rank + 2) for rank, item in enumerate(ranked[:k]) if int(item) in relevant)
    ideal = sum(1 / np.log2(rank + 2) for rank in range(min(k, len(relevant))))
    return float(gains / ideal)


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values: Scores, *, rounds: int = 2_000, seed: int = 0) -> Interval:
    """The mean over readers with a percentile bootstrap interval (Efron and Tibshirani, 1993, 13.3).

    For a paired comparison pass the differences.
    """
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), size=(rounds, len(values)))
    means = values[picks].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
