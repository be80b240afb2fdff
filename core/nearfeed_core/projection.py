"""A plane through vectors, to look at them: principal component analysis (Pearson, 1901)."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Real = TypeVar("Real", np.float32, np.float64)


def unit_rows(rows: NDArray[Real]) -> NDArray[Real]:
    """Rows (n, dim) scaled to length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=rows.dtype)


Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """Its centre (dim), its two orthonormal axes (2, dim), and the share of the variance on each (2)."""

    centre: Matrix
    axes: Matrix
    shares: Matrix

    def places(self, vectors: ArrayLike) -> Matrix:
        """Where vectors (n, dim) lie on the plane: (n, 2)."""
        return np.asarray((_unit(vectors) - self.centre) @ self.axes.T, dtype=np.float64)


def fit_projection(vectors: ArrayLike) -> Projection:
    """The plane of the most variance through vectors (n, dim), n > 0 and dim > 1, each taken as a direction.

    The largest entry of each axis is positive, so that the same vectors always give the same picture.
    """
    rows = _unit(vectors)
    centre = rows.mean(axis=0)
    spread = rows - centre
    values, columns = np.linalg.eigh(spread.T @ spread)
    axes = columns[:, [-1, -2]].T
    largest = axes[np.arange(2), np.abs(axes).argmax(axis=1)]
    axes = axes * np.sign(largest)[:, None]
    total = values.clip(0).sum()
    shares = values[[-1, -2]].clip(0) / total if total > 0 else np.zeros(2)
    return Projection(centre, axes, shares)


def _unit(vectors: ArrayLike) -> Matrix:
    return unit_rows(np.asarray(vectors, dtype=np.float64))
