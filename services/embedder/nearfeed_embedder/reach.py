"""How far new posts reach: what they get of the places beside posts that are known by their readers.

A vector made of text is an average of what it might become, so it is shorter than those of posts that many
read, and a ranking of both would hardly show it. By what it must be multiplied is measured on posts that are
known: some of them are given vectors as if they were new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import Block
from nearfeed_core.metrics import share, top_k
from nearfeed_core.splits import HeldOut
from nearfeed_embedder.dataset import Readings, Rows
from nearfeed_embedder.evaluation.by_time import history_of
from nearfeed_embedder.evaluation.vectors import pool_readers
from nearfeed_embedder.parts import Parts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Scores = NDArray[np.float32]
PLACES = 20
MOST = 256.0
_STEPS = 14
_READERS = 256


@dataclass(frozen=True)
class Contest:
    """Scores of the same readers: `old` (readers, at most 20) are the best of the old posts.

    Those of the new posts, `graph` and `linear` (readers, new posts), are by each part of their vectors.
    """

    old: Scores
    graph: Scores
    linear: Scores

    def new_share(self, reach: float) -> float:
        """What new posts get of the first 20 places when their linear vectors are `reach` times as long."""
        together = np.concatenate([self.old, self.graph + np.float32(reach) * self.linear], axis=1)
        new = np.arange(together.shape[1]) >= self.old.shape[1]
        return float(share(top_k(together, PLACES), new, PLACES).mean())


def contest(
    trained: Parts, old: NDArray[np.bool_], new: Parts, history: "csr_matrix", blocks: Sequence[Block]
) -> Contest:
    """Of posts by their trained parts, of which the `old` (n) compete, and `new` ones.

    `history` (readers, n) holds the weights of old posts; these are not ranked for their readers. Readers
    whom few old posts are left to show, fewer than twice the places, are passed over.
    """
    history = history[old.sum() - np.diff(history[:, old].indptr) >= 2 * PLACES]
    pooled = pool_readers(trained.contexts, history, blocks).astype(np.float32)
    scores = pooled @ trained.vectors[old].T
    scores[history[:, old].nonzero()] = -np.inf
    best = np.partition(scores, max(0, scores.shape[1] - PLACES), axis=1)[:, -PLACES:]
    graph, linear = np.split(pooled, [trained.graph.shape[1]], axis=1)
    return Contest(best, graph @ new.graph.T, linear @ new.linear_vectors.T)


def fair_reach(found: Contest, fair_share: float) -> float:
    """The factor by which new posts get `fair_share` of the places, as near as it can be, by bisection.

    It lies between 1/256 and 256, and is 1 where no factor of these does it, nobody reads or nothing is new.
    """
    if not found.linear.size or not found.new_share(1 / MOST) < fair_share < found.new_share(MOST):
        return 1.0
    low, high = -np.log(MOST), np.log(MOST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if found.new_share(float(np.exp(middle))) < fair_share else (low, middle)
    return float(np.exp(middle))


def histories(
    readings: Readings, n_posts: int, half_life_days: float, rng: np.random.Generator
) -> "csr_matrix":
    """The weights (readers, n) by which some random readers are described, at most 256."""
    by_reader = readings.rows_by_reader()
    drawn = np.sort(rng.permutation(len(by_reader))[:_READERS])
    nothing = np.empty(0, np.intp)
    cases = [HeldOut(row, by_reader[index], nothing) for row, index in enumerate(drawn)]
    return history_of(readings, cases, (len(drawn), n_posts), half_life_days)


def drawn_as_new(known: NDArray[np.bool_], rng: np.random.Generator, part: float = 0.1) -> Rows:
    """A random tenth of the posts that are `known` (n); none of fewer than ten."""
    rows = np.flatnonzero(known)
    return np.sort(rng.choice(rows, int(part * len(rows)), replace=False))
