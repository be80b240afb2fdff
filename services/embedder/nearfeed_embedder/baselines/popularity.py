"""What is read most, of all time or lately; the same for every reader."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.readings import DAY_MICROS
from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.split import Scorer, column_counts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def popularity(train: "csr_matrix") -> Scorer:
    """Every reader gets the posts that most readers have read."""
    return _same_for_all(column_counts(train).astype(np.float32))


def recent_popularity(
    train: "csr_matrix", times: NDArray[np.int64], cut: int, *, days: float = 30.0
) -> Scorer:
    """The posts that most readers have read within `days` before the cut, then those of all time.

    `times` (train.nnz) and `cut` are in microseconds since 1970.
    """
    return _same_for_all(popular_counts(train.indices, times, cut, days, train.shape[1]).astype(np.float32))


def popular_counts(
    items: Rows, times: NDArray[np.int64], end: int, days: float, n_items: int
) -> NDArray[np.float64]:
    """Readings (items) within `days` before `end`, and below 1 what breaks ties: those of all time.

    Readings (n) are given by their items and times, in microseconds since 1970 as `end` is.
    """
    recent = np.bincount(items[times >= end - days * DAY_MICROS], minlength=n_items)
    ever = np.bincount(items, minlength=n_items)
    return np.asarray(recent + ever / (1 + ever.max(initial=0)))


def _same_for_all(scores: NDArray[np.float32]) -> Scorer:
    return lambda readers: np.broadcast_to(scores, (len(readers), len(scores)))
