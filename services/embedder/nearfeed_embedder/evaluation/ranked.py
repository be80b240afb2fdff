"""Scores of posts by lists, item-to-item or per reader, as they are served."""

from typing import TYPE_CHECKING

import numpy as np

from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.split import Scorer, Scores

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def by_neighbours(similar: "csr_matrix", history: "csr_matrix") -> Scorer:
    """Row i of `similar` (items, items) is the list of item i, with its scores.

    A post scores the sum of weight times score over what the reader has read; -inf where it stands in
    none of those lists.
    """
    lists = similar.copy()
    lists.data = np.ones_like(lists.data)

    def score(readers: Rows) -> Scores:
        sums = (history[readers] @ similar).toarray()
        reached = (history[readers] @ lists).toarray() > 0
        return np.asarray(np.where(reached, sums, np.float32(-np.inf)))

    return score


def by_lists(ranks: "csr_matrix", list_of: Rows) -> Scorer:
    """Row l of `ranks` (lists, items) has the ranks in list l; `list_of` (readers) is whose l, -1 none.

    A post scores one over its rank; -inf where it is not in the list.
    """

    def score(readers: Rows) -> Scores:
        own = list_of[readers]
        found = ranks[np.maximum(own, 0)].toarray().astype(np.float32)
        found[own < 0] = 0
        return np.asarray(np.divide(1, found, out=np.full_like(found, -np.inf), where=found > 0))

    return score
