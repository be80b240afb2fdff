"""What a model must beat: popularity, and item-kNN on the same profiles."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.evaluation import Case, Scorer, Scores

NEIGHBOURS = 200
SHRINKAGE = 10.0
_CELLS_AT_ONCE = 8_000_000


def popularity(readings: Readings, n_items: int) -> Scorer:
    """Every reader gets the posts that most readers have read."""
    counts = np.bincount(readings.item, minlength=n_items).astype(np.float32)
    return lambda cases: np.tile(counts, (len(cases), 1))


def item_knn(readings: Readings, n_items: int, neighbours: int = NEIGHBOURS) -> Scorer:
    """Weighted sums of cosines to what a reader has read (Sarwar et al., WWW 2001, section 3).

    A post counts its nearest `neighbours`; cosines of few common readers are shrunk towards 0.
    """
    similar = item_similarities(readings, n_items, neighbours).T.tocsr()
    return lambda cases: np.asarray((_profiles(cases, n_items) @ similar).toarray(), dtype=np.float32)


def item_similarities(readings: Readings, n_items: int, neighbours: int) -> sparse.csr_matrix:
    """(n_items, n_items): the shrunk cosine of each post with its nearest others, the rest 0."""
    n_readers = int(readings.reader.max()) + 1
    read = sparse.csr_matrix(
        (np.ones(len(readings), np.float32), (readings.reader, readings.item)), shape=(n_readers, n_items)
    )
    by_item = read.T.tocsr()
    size = np.sqrt(np.bincount(readings.item, minlength=n_items)).astype(np.float32)
    step = max(64, _CELLS_AT_ONCE // n_items)
    blocks = []
    for start in range(0, n_items, step):
        common = (by_item[start : start + step] @ read).toarray()
        rows = np.arange(len(common))
        common[rows, start + rows] = 0
        common /= size[start : start + step, None] * size[None, :] + SHRINKAGE
        blocks.append(_nearest(common, neighbours))
    return sparse.vstack(blocks, format="csr")


def _nearest(similar: NDArray[np.float32], neighbours: int) -> sparse.csr_matrix:
    if neighbours < similar.shape[1]:
        least = -np.partition(-similar, neighbours - 1, axis=1)[:, neighbours - 1 : neighbours]
        similar[similar < least] = 0
    return sparse.csr_matrix(similar)


def _profiles(cases: Sequence[Case], n_items: int) -> sparse.csr_matrix:
    """(cases, n_items) of weights that sum to 1 in each row."""
    starts = np.cumsum([0, *(len(case.items) for case in cases)])
    weights: Scores = np.concatenate([case.weights / case.weights.sum() for case in cases])
    items = np.concatenate([case.items for case in cases])
    return sparse.csr_matrix((weights, items, starts), shape=(len(cases), n_items))
