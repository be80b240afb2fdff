"""How unit vectors lie: close where they mean the same, and spread where they do not.

Wang and Isola, ICML 2020, with the exponents that SimCSE (Gao, Yao and Chen, EMNLP 2021) is described by.
Lower is better for both.
"""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32] | NDArray[np.float64]
_ROWS_TOGETHER = 1_024


def alignment(first: Vectors, second: Vectors) -> float:
    """The mean squared distance of pairs (n, dim) and (n, dim): from 0, all pairs equal, to 4.

    Raises ValueError where there is no pair.
    """
    if not len(first):
        raise ValueError("alignment needs at least one pair")
    return float((np.subtract(first, second, dtype=np.float64) ** 2).sum(axis=1).mean())


def uniformity(vectors: Vectors) -> float:
    """log of the mean of exp(-2 d²) over all pairs of different rows (n, dim), d their distance.

    From 0, all vectors equal, to -8, two that are opposite. Raises ValueError for fewer than two rows.
    """
    n = len(vectors)
    if n < 2:
        raise ValueError("uniformity needs at least two vectors")
    exact = vectors.astype(np.float64)
    total = 0.0
    for start in range(0, n, _ROWS_TOGETHER):
        rows = exact[start : start + _ROWS_TOGETHER]
        near = np.exp(4 * (rows @ exact.T) - 4)
        near[np.arange(len(rows)), start + np.arange(len(rows))] = 0
        total += near.sum()
    return float(np.log(total / (n * (n - 1))))
