"""From the contexts of what a reader read to the reader's vector."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import Block

Matrix = NDArray[np.float64]
NEWEST_READINGS = 512


def pool_reader(
    contexts: NDArray[np.float32], weights: Sequence[float] | Matrix, blocks: Sequence[Block]
) -> Matrix:
    """The reader's vector (dim) from contexts (n, dim) and weights (n), block by block, in float64.

    `mean` is the weighted average, `sum` the weighted sum, `ridge` solves
    (I + sum w v v^T) u = sum w v: the fold-in of implicit ALS (Hu, Koren and Volinsky, ICDM 2008,
    section 4) over whitened factors, in which similar readings count less. No reading gives zeros.
    """
    rows = np.asarray(contexts, dtype=np.float64)
    w = np.asarray(weights, dtype=np.float64)
    return np.concatenate([_pool_block(rows[:, b.start : b.start + b.dim], w, b) for b in blocks])


def _pool_block(rows: Matrix, w: Matrix, block: Block) -> Matrix:
    total = w @ rows if len(rows) else np.zeros(block.dim)
    match block.pooling:
        case "mean":
            pooled = total / w.sum() if w.sum() > 0 else total
        case "sum":
            pooled = total
        case "ridge":
            pooled = np.linalg.solve(np.eye(block.dim) + rows.T @ (w[:, None] * rows), total)
    norm = float(np.linalg.norm(pooled))
    if block.normalize and norm > 0:
        pooled = pooled / norm
    return np.asarray(block.scale * pooled, dtype=np.float64)
