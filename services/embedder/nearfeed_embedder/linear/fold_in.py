"""The fold-in of implicit ALS as pooling of kind ridge."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import Block


@dataclass(frozen=True)
class Whitened:
    """`vectors` (items, factors) are what is searched and what a reading adds; `blocks` pool them."""

    vectors: NDArray[np.float32]
    blocks: tuple[Block, ...]


def whitened(factors: NDArray[np.float32], *, ridge: float, alpha: float) -> Whitened:
    """Item factors Y (items, factors) so whitened that pooling by `ridge` folds a reader in.

    Hu, Koren and Volinsky (ICDM 2008, section 4) fold a reader in by u = (M + Σ (c - 1) y yᵀ)⁻¹ Σ c y, where
    M = YᵀY + ridge·I and c is a reading's confidence: `alpha`, above 1, at weight 1. With the vectors
    v = √(alpha - 1)·M^(-1/2) y the pooled reader is a = (I + Σ v vᵀ)⁻¹ Σ v, and the inner product of v and a
    is that of y and u but for the scale alpha / (alpha - 1). A reading of another weight w counts
    w·(alpha - 1) in both sums, so that one of weight 0 counts nothing. The inner product of two vectors is
    the similarity of two items in section 5 of the paper.
    """
    y = factors.astype(np.float64)
    values, directions = np.linalg.eigh(y.T @ y + ridge * np.eye(y.shape[1]))
    vectors = np.sqrt(alpha - 1) * (y @ (directions / np.sqrt(values)) @ directions.T)
    block = Block(start=0, dim=y.shape[1], pooling="ridge", scale=alpha / (alpha - 1))
    return Whitened(vectors.astype(np.float32), (block,))
