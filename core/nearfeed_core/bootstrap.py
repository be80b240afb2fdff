"""Bootstrap intervals of means over readers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 2_000
_DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 where the interval lies above 0, -1 where it lies below, 0 where it holds 0."""
        return int(self.low > 0) - int(self.high < 0)


def bootstrap_means(values: NDArray[np.float64], *, rounds: int = ROUNDS, seed: int = 0) -> list[Interval]:
    """The mean of each column (readers, columns) with its percentile interval.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3. All columns share the
    readers that are drawn, and for a paired comparison pass differences. Raises ValueError without
    a reader.
    """
    n = len(values)
    if not n:
        raise ValueError("an interval needs at least one reader")
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // n)
    parts = [_means(values, min(step, rounds - start), rng) for start in range(0, rounds, step)]
    low, high = np.quantile(np.concatenate(parts), [0.025, 0.975], axis=0)
    return [Interval(*map(float, bounds)) for bounds in zip(values.mean(axis=0), low, high, strict=True)]


def bootstrap_mean(values: NDArray[np.float64], *, rounds: int = ROUNDS, seed: int = 0) -> Interval:
    """The interval of one column (readers)."""
    return bootstrap_means(values[:, None], rounds=rounds, seed=seed)[0]


def _means(values: NDArray[np.float64], rounds: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(rounds, columns): each round draws as many readers as there are, with replacement."""
    n = len(values)
    drawn = rng.integers(0, n, size=(rounds, n)) + n * np.arange(rounds)[:, None]
    times = np.bincount(drawn.ravel(), minlength=rounds * n).reshape(rounds, n)
    return np.asarray(times @ values / n)
