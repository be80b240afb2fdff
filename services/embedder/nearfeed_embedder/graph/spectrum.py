"""Where the vectors that PinSage learns of single posts begin: with what the graph says of them at once."""

import numpy as np
import torch
from scipy import linalg, sparse
from scipy.sparse.linalg import svds
from torch import Tensor

from nearfeed_embedder.dataset import Readings

# To so many readers or posts a graph is decomposed whole; an iteration is not repeatable on equal pieces.
_MOST = 4_096


def spectral_ids(readings: Readings, n_items: int, dim: int) -> Tensor:
    """(n_items, dim) float32 with rows of mean length √dim: smooth signals on the graph of readings.

    They are the leading right singular vectors, each times its singular value, of the readings divided
    by the roots of the numbers of their reader's and their post's readings: the low-pass filter of GF-CF
    (Shen et al., CIKM 2021, section 4). A graph of lower rank leaves the last columns 0.
    """
    readers = int(readings.reader.max()) + 1
    of_reader, of_item = np.bincount(readings.reader), np.bincount(readings.item)
    share = 1 / np.sqrt(of_reader[readings.reader] * of_item[readings.item])
    read = sparse.csr_matrix((share, (readings.reader, readings.item)), shape=(readers, n_items))
    rank = min(dim, min(read.shape) - 1)
    ids = np.zeros((n_items, dim), np.float32)
    if rank > 0:
        ids[:, :rank] = _signed(_leading(read, rank))
        ids *= np.sqrt(dim) / max(float(np.linalg.norm(ids, axis=1).mean()), np.finfo(np.float32).tiny)
    return torch.from_numpy(ids)


def _leading(read: "sparse.csr_matrix", rank: int) -> np.ndarray:
    """Right singular vectors (items, rank), each times its value, largest first; the same at each call."""
    if min(read.shape) > _MOST:
        start = np.random.default_rng(0).normal(size=min(read.shape))
        _, values, vectors = svds(read, k=rank, v0=start)
        order = np.argsort(-values, kind="stable")
        return np.asarray(vectors[order].T * values[order])
    wide = read.shape[0] < read.shape[1]
    gram = (read @ read.T if wide else read.T @ read).toarray()
    last = len(gram) - 1
    squares, vectors = linalg.eigh(gram, subset_by_index=(len(gram) - rank, last), overwrite_a=True)
    vectors = vectors[:, ::-1]
    return np.asarray(read.T @ vectors if wide else vectors * np.sqrt(np.maximum(squares[::-1], 0)))


def _signed(columns: np.ndarray) -> np.ndarray:
    """Each column so that its first entry of the largest size is positive, for signs are arbitrary."""
    size = np.abs(columns)
    largest = (size >= size.max(axis=0) * (1 - 1e-6)).argmax(axis=0)
    return np.asarray(columns * np.where(columns[largest, np.arange(columns.shape[1])] < 0, -1, 1))
