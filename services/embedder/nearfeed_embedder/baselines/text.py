"""Text alone: a reader is the weighted average of the text vectors of what they read."""

from typing import TYPE_CHECKING

from nearfeed_contracts.runs import Block
from nearfeed_embedder.evaluation.split import Scorer
from nearfeed_embedder.evaluation.vectors import Vectors, by_vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def text(text_vectors: Vectors, history: "csr_matrix") -> Scorer:
    """By unit vectors (items, dim) of the posts' texts."""
    blocks = (Block(start=0, dim=text_vectors.shape[1], pooling="mean"),)
    return by_vectors(text_vectors, text_vectors, blocks, history)
