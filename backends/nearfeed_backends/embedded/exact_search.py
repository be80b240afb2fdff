"""Exact filtered inner-product search over a snapshot: a mask from the filter, then a scan by faiss.

A scan looks at the mask's bit of each row; rows that are few are multiplied one by one instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import NDArray

from nearfeed_backends.embedded.name_codes import Codes, NameCodes
from nearfeed_backends.embedded.space_rows import Snapshot
from nearfeed_contracts.vector_store import Filter, Hits

Vector = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Measured with 9,000 to 500,000 rows of 256 dimensions: at a tenth both ways take the same time where the
# rows are in runs, and a scan takes half as long again where they are scattered.
_FEW_ROWS = 1_000
_FEW_SHARE = 0.1


def mask_of(snapshot: Snapshot, where: Filter) -> Mask:
    """Which rows match (n)."""
    names, columns = snapshot.names, snapshot.columns
    mask = snapshot.live.copy()
    if where.community_ids is not None:
        mask &= _table(names.communities, where.community_ids, allowed=True).take(columns.communities)
    if where.published_after is not None:
        mask &= columns.published >= where.published_after
    if where.exclude_author_ids:
        mask &= _table(names.authors, where.exclude_author_ids, allowed=False).take(columns.authors)
    if where.exclude_item_ids:
        mask[_latest_rows(snapshot, where.exclude_item_ids)] = False
    if where.item_ids is not None:
        rows = _latest_rows(snapshot, where.item_ids)
        allowed = np.zeros_like(mask)
        allowed[rows] = mask[rows]
        mask = allowed
    return mask


def best_of(snapshot: Snapshot, mask: Mask, vector: Vector, k: int) -> Hits:
    """The min(k, matching) posts of a mask with the highest inner product with `vector` (dim).

    Hits of one score come in the order of their ids.
    """
    rows, scores = best_rows(snapshot, mask, vector, k)
    names = snapshot.names.items.names
    return Hits([names[code] for code in snapshot.columns.items[rows].tolist()], scores)


def best_rows(snapshot: Snapshot, mask: Mask, vector: Vector, k: int) -> tuple[NDArray[np.int64], Vector]:
    """The same as rows and scores."""
    matching = int(np.count_nonzero(mask))
    k = min(k, matching)
    if k < 1:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if matching <= max(k, _FEW_ROWS, _FEW_SHARE * len(mask)):
        rows, scores = _by_row(snapshot.columns.vectors, np.flatnonzero(mask), vector, k)
    else:
        rows, scores = _by_scan(snapshot.columns.vectors, mask, vector, k)
    if (scores[1:] == scores[:-1]).any():
        names, codes = snapshot.names.items.names, snapshot.columns.items[rows].tolist()
        order = sorted(range(k), key=lambda place: (-scores[place], names[codes[place]]))
        rows, scores = rows[order], scores[order]
    return rows, scores


def _by_row(
    vectors: Vector, rows: NDArray[np.int64], vector: Vector, k: int
) -> tuple[NDArray[np.int64], Vector]:
    scores = np.empty(len(rows), np.float32)
    with _one_thread():
        faiss.fvec_inner_products_by_idx(  # type: ignore[attr-defined]
            faiss.swig_ptr(scores),
            faiss.swig_ptr(vector),
            faiss.swig_ptr(vectors),
            faiss.swig_ptr(rows),
            vectors.shape[1],
            1,
            len(rows),
        )
    if k < len(rows):
        best = np.argpartition(scores, len(rows) - k)[len(rows) - k :]
        rows, scores = rows[best], scores[best]
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order]


def _by_scan(vectors: Vector, mask: Mask, vector: Vector, k: int) -> tuple[NDArray[np.int64], Vector]:
    """One query is one thread's work in faiss, whatever the number of its threads is."""
    bits = np.packbits(mask, bitorder="little")
    scores, rows = np.empty(k, np.float32), np.empty(k, np.int64)
    faiss.knn_inner_product(
        faiss.swig_ptr(vector),
        faiss.swig_ptr(vectors),
        vectors.shape[1],
        1,
        len(vectors),
        k,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(rows),
        faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits)),
    )
    return rows, scores


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps faiss from starting a team of threads for one query, which would wait for each other.

    The number is that of the calling thread, and torch may share it, so it is put back.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _table(names: NameCodes, chosen: frozenset[str], *, allowed: bool) -> Mask:
    """By code whether a name is allowed: the chosen ones alone, or all but these."""
    known = len(names)
    table = np.full(known, not allowed)
    table[names.codes_among(chosen, known)] = allowed
    return table


def _latest_rows(snapshot: Snapshot, item_ids: frozenset[str]) -> Codes:
    rows = snapshot.latest[snapshot.names.items.codes_among(item_ids, len(snapshot.latest))]
    return rows[rows >= 0]
