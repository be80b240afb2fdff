"""Random walks from what a reader has read, as the recommender takes them (Pixie, WWW 2018)."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.evaluation.split import Scorer, Scores, column_counts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def random_walk(
    train: "csr_matrix",
    history: "csr_matrix",
    *,
    steps: int = 100_000,
    restart: float = 0.5,
    readings: int = 50,
    seed: int = 0,
) -> Scorer:
    """By the boosted visits of a request's walks from the reader's `readings` of most weight."""
    # numba takes a second to import, which a comparison without it need not wait for.
    from nearfeed_core.pixie.csr import grouped
    from nearfeed_core.pixie.requests import Graph, Rule, best_of, walk_from

    items, people = (
        train.indices.astype(np.uint32),
        np.repeat(np.arange(train.shape[0]), np.diff(train.indptr)),
    )
    forth = grouped(items, people.astype(np.uint32), train.shape[1])
    back = grouped(people.astype(np.uint32), items, train.shape[0])
    graph = Graph(forth, back, int(column_counts(train).max(initial=0)))
    rule = Rule(steps=steps, restart=restart, seed=seed)
    nothing = np.zeros(0, np.uint32)

    def fill(scores: Scores, reader: int) -> None:
        row = history[reader]
        chosen = np.argsort(-row.data, kind="stable")[:readings]
        visited = walk_from(graph, row.indices[chosen].tolist(), row.data[chosen].astype(np.float64), rule)
        posts, values = best_of(visited, nothing, train.shape[1])
        scores[posts] = values

    def score(readers: Rows) -> Scores:
        scores = np.zeros((len(readers), train.shape[1]), np.float32)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, scores, readers))
        return scores

    return score
