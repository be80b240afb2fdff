"""Metrics of full rankings, of many readers at once.

`ranked` (readers, k) holds items, best first, and -1 where nothing is left to rank; `hits`, of the
same shape, says which of them the reader was to find, and `relevant` (readers) how many those are.
Every function but `coverage` gives one value per reader, for any cutoff up to the width of `ranked`.
Relevance is binary. A reader without a relevant item has no recall and no NDCG: leave them out.
"""

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Counts = NDArray[np.intp]
Items = NDArray[np.intp]
Values = NDArray[np.float64]
NOTHING = -1


def top_k(scores: NDArray[np.float32], k: int) -> Items:
    """The k best columns of each row of scores (readers, items), best first; ties go by column.

    What scores -inf is not ranked: the row ends with -1. Raises ValueError on NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN, which no ranking can place")
    k = min(k, scores.shape[1])
    least = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k, None]
    chosen = scores >= least
    crowded = np.flatnonzero(chosen.sum(axis=1) > k)
    chosen[crowded] = _first_of_the_least(scores[crowded], least[crowded], k)
    columns = np.nonzero(chosen)[1].reshape(-1, k)
    found = np.take_along_axis(scores, columns, axis=1)
    columns = np.where(np.isneginf(found), NOTHING, columns)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(columns, order, axis=1))


def _first_of_the_least(scores: NDArray[np.float32], least: NDArray[np.float32], k: int) -> Bools:
    above, equal = scores > least, scores == least
    room = k - above.sum(axis=1, keepdims=True)
    return np.asarray(above | (equal & (np.cumsum(equal, axis=1) <= room)))


def hits_of(ranked: Items, targets: Bools) -> Bools:
    """Which ranked items are among the targets (readers, items)."""
    return np.asarray(np.take_along_axis(targets, np.maximum(ranked, 0), axis=1) & (ranked != NOTHING))


def recall(hits: Bools, relevant: Counts, k: int) -> Values:
    """Hits among the first k over the number of relevant items, also where that is more than k."""
    return np.asarray(hits[:, :k].sum(axis=1) / relevant)


def ndcg(hits: Bools, relevant: Counts, k: int) -> Values:
    """DCG, the sum of 1 / log2(rank + 1) over hits, by that of min(k, relevant) hits in front.

    Järvelin and Kekäläinen, TOIS 2002, with the ideal cut at k as in the published code of LightGCN
    (He et al., SIGIR 2020) and UltraGCN (Mao et al., CIKM 2021), and in trec_eval's `ndcg_cut`.
    """
    discounts = 1 / np.log2(np.arange(k) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(relevant, k)]
    gained = hits[:, :k] @ discounts[: hits.shape[1]]
    return np.asarray(gained / ideal, dtype=np.float64)


def hit_rate(hits: Bools, k: int) -> Values:
    """1 where at least one of the first k is a hit, else 0."""
    return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)


def reciprocal_rank(hits: Bools, k: int) -> Values:
    """1 / rank of the first hit, 0 where none is among the first k (Voorhees, TREC-8, 1999)."""
    first = hits[:, :k].argmax(axis=1)
    return np.asarray(np.where(hits[:, :k].any(axis=1), 1 / (first + 1), 0.0))


def self_information(readers_of: Counts, n_readers: int) -> Values:
    """log2(readers / readers of the item), in bits (items); an item that nobody has read counts one reader.

    Zhou et al., PNAS 2010.
    """
    return np.asarray(np.log2(n_readers / np.maximum(readers_of, 1)), dtype=np.float64)


def novelty(ranked: Items, information: Values, k: int) -> Values:
    """The mean self-information (items) of the first k, in bits; 0 where nothing is ranked."""
    return _mean_of(information, ranked[:, :k])


def share(ranked: Items, marked: Bools, k: int) -> Values:
    """The share of the first k that are marked (items); 0 where nothing is ranked.

    Over `most_read` items it is the popularity share, over new ones their exposure.
    """
    return _mean_of(marked.astype(np.float64), ranked[:, :k])


def most_read(readers_of: Counts, share_of_items: float = 0.2) -> Bools:
    """Marks the fifth of the items (items) that most readers have read, ties by column."""
    head = np.zeros(len(readers_of), np.bool_)
    head[np.argsort(-readers_of, kind="stable")[: round(share_of_items * len(readers_of))]] = True
    return head


def coverage(ranked: Items, n_items: int, k: int) -> float:
    """The share of n_items that at least one reader is shown among their first k."""
    shown = ranked[:, :k]
    return len(np.unique(shown[shown != NOTHING])) / n_items


def _mean_of(values: Values, ranked: Items) -> Values:
    there = ranked != NOTHING
    total = np.where(there, values[np.maximum(ranked, 0)], 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(there.sum(axis=1), 1))
