"""What models learn from and what they are to find, however it was split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nearfeed_core.metrics import most_read
from nearfeed_embedder.dataset import Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Scores = NDArray[np.float32]
Scorer = Callable[[Rows], Scores]
"""Scores (len(readers), items) of all posts for readers, who are rows of the split; higher is better."""


@dataclass(frozen=True)
class Split:
    """Matrices are csr (readers, items) of float32 and share their rows and columns.

    `train` (1 for a reading) is what models may learn from; `history` (weights) describes a reader
    who is to be scored; what is in `masked` is never ranked for its reader, and `targets` are to be
    found. `candidates` (items) are ranked at all. `times` (train.nnz, in the order of `train.data`)
    are microseconds since 1970, `cut` is the time of the split; both None where lists have none, as are
    `texts` (items). `reader_ids` (readers) may be (), where nobody has named them. `told` says in sentences
    how it was split and what is masked.
    """

    item_ids: list[str]
    train: "csr_matrix"
    history: "csr_matrix"
    masked: "csr_matrix"
    targets: "csr_matrix"
    candidates: NDArray[np.bool_]
    told: tuple[str, ...] = ()
    times: NDArray[np.int64] | None = None
    cut: int | None = None
    texts: list[str] | None = None
    reader_ids: Sequence[str] = ()

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def readers(self) -> Rows:
        """The rows that are scored: those with a target."""
        return np.flatnonzero(np.diff(self.targets.indptr))

    @property
    def readers_of(self) -> Rows:
        """How many readers have read each item (items) in `train`."""
        return column_counts(self.train)

    @property
    def new_items(self) -> NDArray[np.bool_]:
        """Items (items) that are ranked though nobody has read them in `train`."""
        return np.asarray(self.candidates & (self.readers_of == 0))

    @property
    def popular_items(self) -> NDArray[np.bool_]:
        """The fifth of the candidates that most readers have read (items)."""
        popular = np.zeros(self.n_items, np.bool_)
        (columns,) = np.nonzero(self.candidates)
        popular[columns[most_read(self.readers_of[columns])]] = True
        return popular


def column_counts(matrix: "csr_matrix") -> Rows:
    """How many entries each column has."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.intp)


def matrix_of(
    rows: Rows, columns: Rows, shape: tuple[int, int], values: NDArray[np.floating] | None = None
) -> "csr_matrix":
    """A csr matrix of float32 with `values`, or 1, at distinct places."""
    entries = np.ones(len(rows)) if values is None else values
    return sparse.csr_matrix((entries.astype(np.float32), (rows, columns)), shape=shape)
