"""Ranks all candidates for all readers of a split, and keeps what the metrics are computed from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_core import metrics
from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.split import Scorer, Split

CUTOFFS = (10, 20, 50)
K = 20
RECALL = f"recall@{K}"
NDCG = f"ndcg@{K}"
NAMES = ("recall", "ndcg", "hit_rate", "mrr", "novelty", "popularity_share", "new_share")
Values = NDArray[np.float64]
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Ranking:
    """One row per reader of `readers`, who are rows of the split and have something to find.

    `ranked` and `hits` are (readers, k) as in `nearfeed_core.metrics`, `values` the metrics by name,
    such as `recall@20` (readers), and `coverage` the share of candidates shown, by k.
    """

    readers: Rows
    ranked: Rows
    hits: NDArray[np.bool_]
    values: Mapping[str, Values]
    coverage: Mapping[int, float]

    def mean(self, metric: str) -> float:
        return float(self.values[metric].mean())


def rank(
    scorer: Scorer,
    split: Split,
    *,
    among: NDArray[np.bool_] | None = None,
    wanted: NDArray[np.bool_] | None = None,
    cutoffs: tuple[int, ...] = CUTOFFS,
) -> Ranking:
    """Ranks the candidates that are not masked, for every reader with a target among them.

    With `among` (items) only those candidates are ranked; with `wanted` (items) all are, but only those
    are targets. Readers are scored in parts, so that memory stays bounded.
    """
    candidates = split.candidates if among is None else split.candidates & among
    looked_for = candidates if wanted is None else candidates & wanted
    targets = split.targets.multiply(looked_for[None, :]).tocsr()
    targets.eliminate_zeros()
    readers = np.flatnonzero(np.diff(targets.indptr))
    relevant = np.diff(targets.indptr)[readers].astype(np.intp)
    depth = min(max(cutoffs), split.n_items)
    ranked = np.empty((len(readers), depth), np.intp)
    hits = np.empty((len(readers), depth), np.bool_)
    step = max(1, _CELLS_AT_ONCE // split.n_items)
    for start in range(0, len(readers), step):
        part = slice(start, start + step)
        ranked[part] = ranked_of(scorer, split, readers[part], candidates, depth)
        hits[part] = metrics.hits_of(ranked[part], targets[readers[part]].toarray() > 0)
    return Ranking(
        readers,
        ranked,
        hits,
        _values(split, ranked, hits, relevant, cutoffs),
        {k: metrics.coverage(ranked, int(candidates.sum()), k) for k in cutoffs},
    )


def ranked_of(scorer: Scorer, split: Split, readers: Rows, candidates: NDArray[np.bool_], depth: int) -> Rows:
    """The first `depth` candidates (items) that are not masked, (readers, depth); -1 where none is left."""
    scores = np.array(scorer(readers), dtype=np.float32)
    scores[:, ~candidates] = -np.inf
    scores[split.masked[readers].nonzero()] = -np.inf
    return metrics.top_k(scores, depth)


def _values(
    split: Split, ranked: Rows, hits: NDArray[np.bool_], relevant: Rows, cutoffs: tuple[int, ...]
) -> dict[str, Values]:
    information = metrics.self_information(split.readers_of, split.train.shape[0])
    popular, new = split.popular_items, split.new_items
    values: dict[str, Values] = {}
    for k in cutoffs:
        of_k = (
            metrics.recall(hits, relevant, k),
            metrics.ndcg(hits, relevant, k),
            metrics.hit_rate(hits, k),
            metrics.reciprocal_rank(hits, k),
            metrics.novelty(ranked, information, k),
            metrics.share(ranked, popular, k),
            metrics.share(ranked, new, k),
        )
        values |= {f"{name}@{k}": column for name, column in zip(NAMES, of_k, strict=True)}
    return values
