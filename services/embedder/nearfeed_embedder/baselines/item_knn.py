"""Item-kNN: weighted sums of similarities to what a reader has read (Sarwar et al., WWW 2001, section 3)."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nearfeed_embedder.evaluation.split import Scorer

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 200
SHRINKAGE = 10.0
_CELLS_AT_ONCE = 8_000_000


def item_knn(
    train: "csr_matrix",
    history: "csr_matrix",
    *,
    neighbours: int = NEIGHBOURS,
    shrinkage: float = SHRINKAGE,
) -> Scorer:
    """By the cosine of two posts' readers; cosines of few common readers are shrunk towards 0."""
    return _by_neighbours(item_similarities(train, neighbours, shrinkage), history)


def item_knn_bm25(
    train: "csr_matrix",
    history: "csr_matrix",
    *,
    neighbours: int = NEIGHBOURS,
    k1: float = 100.0,
    b: float = 0.8,
    shrinkage: float = 0.0,
) -> Scorer:
    """By the cosine of two posts' readers after BM25, in which much-reading readers say less.

    Robertson and Zaragoza, 2009; a post is the document, its readers are the terms.
    """
    from implicit.nearest_neighbours import bm25_weight

    weighted = bm25_weight(train.T, k1, b).T.tocsr().astype(np.float32)
    return _by_neighbours(item_similarities(weighted, neighbours, shrinkage), history)


def _by_neighbours(similar: "csr_matrix", history: "csr_matrix") -> Scorer:
    towards = similar.T.tocsr()
    return lambda readers: np.asarray((history[readers] @ towards).toarray(), dtype=np.float32)


def item_similarities(train: "csr_matrix", neighbours: int, shrinkage: float) -> "csr_matrix":
    """(items, items): the shrunk cosine of each post with its nearest others, the rest 0."""
    n_items = train.shape[1]
    by_item = train.T.tocsr()
    size = np.sqrt(np.asarray(train.multiply(train).sum(axis=0)).ravel()).astype(np.float32)
    step = max(64, _CELLS_AT_ONCE // n_items)
    blocks = []
    for start in range(0, n_items, step):
        common = (by_item[start : start + step] @ train).toarray()
        rows = np.arange(len(common))
        common[rows, start + rows] = 0
        below = size[start : start + step, None] * size[None, :] + np.float32(shrinkage)
        np.divide(common, below, out=common, where=below > 0)
        blocks.append(_nearest(common, neighbours))
    return sparse.vstack(blocks, format="csr")


def _nearest(similar: NDArray[np.float32], neighbours: int) -> "csr_matrix":
    if neighbours < similar.shape[1]:
        least = -np.partition(-similar, neighbours - 1, axis=1)[:, neighbours - 1 : neighbours]
        similar[similar < least] = 0
    return sparse.csr_matrix(similar)
