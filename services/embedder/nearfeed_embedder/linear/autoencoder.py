"""A linear autoencoder of readers in closed form, cut to few dimensions.

B rebuilds what each reader has read from the rest of it, with a diagonal of 0: EASE (Steck, WWW 2019)
with the dropout of EDLAE (Steck, NeurIPS 2020, section 3), in which a reader counts the less the more
they have read. What a reader's row X gives, X B, is then cut to its first right singular vectors V, which
is the best of that rank for the readers at hand (reduced-rank regression; Izenman, 1975). So a post has
two roles: B V is what a reading of it adds to its reader, V is what a search finds.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.linalg import eigsh

from nearfeed_contracts.runs import Block

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Matrix = NDArray[np.float64]


def ridge_inverse(gram: Matrix, ridge: float | Matrix) -> Matrix:
    """(gram + diag(ridge))⁻¹ of a symmetric gram (n, n), by Cholesky; `ridge` is a number or (n).

    The gram is overwritten. Raises ValueError where the sum is not positive definite.
    """
    gram[np.diag_indices(len(gram))] += ridge
    factor, info = linalg.lapack.dpotrf(gram, lower=True, overwrite_a=True)
    if info:
        raise ValueError(f"ridge must be above 0, not {ridge}")
    inverse, _ = linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)


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


Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class LinearRule:
    """`dim` dimensions; `ridge` and the `dropout` of readings regularise.

    A reader of n readings counts n**-reader_power. Only the `most_posts` that most have read take part:
    time grows with the cube, memory with the square of their number, or of the readers' if these are fewer.
    """

    dim: int = 128
    ridge: float = 100.0
    dropout: float = 0.33
    reader_power: float = 0.75
    most_posts: int = 10_000

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Roles:
    """What a reading adds to its reader and what a search finds, (n, dim) each; 0 for posts left out.

    `known` (n) are the posts that take part.
    """

    contexts: Vectors
    vectors: Vectors
    known: NDArray[np.bool_]


def fit_roles(read: "csr_matrix", rule: LinearRule) -> Roles:
    """From who has read what, (readers, n) with 1 for a reading."""
    readers_of = np.bincount(read.indices, minlength=read.shape[1])
    chosen = np.sort(np.argsort(-readers_of, kind="stable")[: rule.most_posts])
    chosen = chosen[readers_of[chosen] > 0]
    rows = _counted(read[:, chosen], rule.reader_power)
    counts = np.asarray(rows.multiply(rows).sum(axis=0)).ravel()
    ridge = rule.ridge + rule.dropout / (1 - rule.dropout) * counts
    rank = min(rule.dim, *rows.shape)
    solve = _by_readers if rows.shape[0] < rows.shape[1] else _by_posts
    known = np.zeros(read.shape[1], np.bool_)
    known[chosen] = True
    contexts, vectors = np.zeros((2, read.shape[1], rule.dim), np.float32)
    contexts[chosen, :rank], vectors[chosen, :rank] = solve(rows, ridge, rank)
    return Roles(contexts, vectors, known)


def _counted(read: "csr_matrix", power: float) -> "csr_matrix":
    """The readers (r, n) who have read anything, each times the root of what they count; their mean is 1."""
    count = np.diff(read.indptr)
    rows, count = read[count > 0].astype(np.float64), count[count > 0]
    importance = (count.mean() / count) ** power
    return rows.multiply(np.sqrt(importance)[:, None]).tocsr()


def _by_posts(rows: "csr_matrix", ridge: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Contexts and vectors (n, rank), by matrices of posts by posts."""
    gram = (rows.T @ rows).toarray()
    inverse = ridge_inverse(gram.copy(), ridge)
    diagonal = np.diag(inverse).copy()
    # gram @ B, for (gram + ridge) @ inverse = I.
    rebuilt = gram - (np.eye(len(gram)) - ridge[:, None] * inverse) / diagonal
    scatter = rebuilt - (inverse / diagonal).T @ rebuilt
    vectors = _leading(scatter, rank)
    return vectors - inverse @ (vectors / diagonal[:, None]), vectors


def _by_readers(sparse_rows: "csr_matrix", ridge: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """The same by matrices of readers by readers (the identity of Woodbury)."""
    rows = sparse_rows.toarray()
    scaled = rows / ridge
    solved = linalg.solve(np.eye(len(rows)) + scaled @ rows.T, scaled, assume_a="pos")
    diagonal = 1 / ridge - (scaled * solved).sum(0)
    rebuilt = rows - solved / diagonal
    left = _leading(rebuilt @ rebuilt.T, rank)
    vectors = rebuilt.T @ left
    length = np.linalg.norm(vectors, axis=0)
    # Beyond the true rank there is rounding alone.
    vectors *= np.where(length > 1e-6 * length.max(), 1 / np.maximum(length, np.finfo(float).tiny), 0)
    weighed = vectors / diagonal[:, None]
    return vectors - weighed / ridge[:, None] + solved.T @ (scaled @ weighed), vectors


def _leading(symmetric: Matrix, rank: int) -> Matrix:
    """The eigenvectors (n, rank) of the largest eigenvalues, largest first."""
    symmetric = (symmetric + symmetric.T) / 2
    if rank < len(symmetric) // 4:
        rng = np.random.default_rng(0)
        _, vectors = eigsh(symmetric, k=rank, v0=rng.normal(size=len(symmetric)), rng=rng)
    else:
        _, vectors = linalg.eigh(symmetric, subset_by_index=(len(symmetric) - rank, len(symmetric) - 1))
    return np.asarray(vectors[:, ::-1])
