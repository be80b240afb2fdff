"""EASE: a linear item-item model with a closed form (Steck, WWW 2019)."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.errors import NearfeedError
from nearfeed_embedder.evaluation.split import Scorer
from nearfeed_embedder.linear.autoencoder import ridge_inverse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST_ITEMS = 25_000


class TooManyItemsError(NearfeedError):
    """More items than an (items, items) matrix can hold."""


def ease(train: "csr_matrix", history: "csr_matrix", *, ridge: float = 500.0) -> Scorer:
    """Scores are `history @ B`, where B rebuilds `train` from itself with a diagonal of 0.

    Raises TooManyItemsError: time grows with the cube of the items, memory with their square.
    """
    weights = ease_weights(train, ridge)
    return lambda readers: np.asarray(history[readers] @ weights, dtype=np.float32)


def ease_weights(train: "csr_matrix", ridge: float) -> NDArray[np.float32]:
    """B (items, items): P = (XᵀX + ridge·I)⁻¹, B = I - P / diag(P)."""
    n_items = train.shape[1]
    if n_items > MOST_ITEMS:
        raise TooManyItemsError(
            f"EASE has a matrix of items by items, and {n_items} are more than {MOST_ITEMS}: leave ease out."
        )
    gram = (train.T @ train).toarray().astype(np.float64)
    inverse = ridge_inverse(gram, ridge)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return np.asarray(weights, dtype=np.float32)
