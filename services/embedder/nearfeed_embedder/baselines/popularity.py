"""What is read most, of all time or lately; the same for every reader."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.readings import DAY_MICROS
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
    late = times >= cut - days * DAY_MICROS
    recent = np.bincount(train.indices[late], minlength=train.shape[1])
    ever = column_counts(train)
    return _same_for_all((recent + ever / (1 + ever.max(initial=0))).astype(np.float32))


def _same_for_all(scores: NDArray[np.float32]) -> Scorer:
    return lambda readers: np.broadcast_to(scores, (len(readers), len(scores)))
