"""Scores of posts by vectors: one inner product with readers who are pooled as they are when served."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import Block
from nearfeed_core.pooling import pool_reader
from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.split import Scorer, Scores

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Vectors = NDArray[np.float32]
Querying = Callable[[Vectors], Vectors]
"""Makes of pooled vectors (readers, dim) those that are searched with, of the same shape."""


def by_vectors(
    vectors: Vectors,
    contexts: Vectors,
    blocks: Sequence[Block],
    history: "csr_matrix",
    *,
    tower: Querying | None = None,
) -> Scorer:
    """Vectors and contexts are (items, dim), `history` (readers, items) holds weights."""

    def score(readers: Rows) -> Scores:
        pooled = pool_readers(contexts, history[readers], blocks).astype(np.float32)
        return np.asarray((tower(pooled) if tower else pooled) @ vectors.T)

    return score


def by_vectors_of_some(
    vectors: Vectors,
    contexts: Vectors,
    blocks: Sequence[Block],
    history: "csr_matrix",
    there: NDArray[np.bool_],
    *,
    tower: Querying | None = None,
) -> Scorer:
    """As `by_vectors`; posts that are not `there` (items) describe nobody, and score -inf."""
    known = history.multiply(there[None, :].astype(np.float32)).tocsr()
    known.eliminate_zeros()
    score = by_vectors(vectors, contexts, blocks, known, tower=tower)
    return lambda readers: np.where(there, score(readers), np.float32(-np.inf))


def pool_readers(contexts: Vectors, history: "csr_matrix", blocks: Sequence[Block]) -> NDArray[np.float64]:
    """The vectors (readers, dim) of all rows of `history`: `pool_reader` of each."""
    return np.concatenate([_pool_block(contexts, history, block) for block in blocks], axis=1)


def _pool_block(contexts: Vectors, history: "csr_matrix", block: Block) -> NDArray[np.float64]:
    slice_of = contexts[:, block.start : block.start + block.dim]
    if block.pooling == "ridge":
        own = [block.model_copy(update={"start": 0})]
        rows = [slice(*ends) for ends in pairwise(history.indptr)]
        return np.stack(
            [pool_reader(slice_of[history.indices[row]], history.data[row].tolist(), own) for row in rows]
        )
    pooled = history.astype(np.float64) @ slice_of.astype(np.float64)
    if block.pooling == "mean":
        pooled /= _nonzero(np.asarray(history.sum(axis=1, dtype=np.float64)).reshape(-1, 1))
    if block.normalize:
        pooled /= _nonzero(np.linalg.norm(pooled, axis=1, keepdims=True))
    return np.asarray(block.scale * pooled)


def _nonzero(divisors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(divisors > 0, divisors, 1.0)
