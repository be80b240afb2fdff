"""Where the vectors that PinSage learns of single posts begin: with what the graph says of them at once."""

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor

from nearfeed_embedder.dataset import Readings


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
        _, values, vectors = svds(read, k=rank, v0=np.ones(min(read.shape)))
        order = np.argsort(-values)
        ids[:, :rank] = _signed(vectors[order].T * values[order])
        ids *= np.sqrt(dim) / max(float(np.linalg.norm(ids, axis=1).mean()), np.finfo(np.float32).tiny)
    return torch.from_numpy(ids)


def _signed(columns: np.ndarray) -> np.ndarray:
    """Each column so that its largest entry is positive, for a singular vector's sign is arbitrary."""
    largest = np.abs(columns).argmax(axis=0)
    return np.asarray(columns * np.where(columns[largest, np.arange(columns.shape[1])] < 0, -1, 1))
