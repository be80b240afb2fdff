"""Small graphs of who read what, and what is exactly true of walks on them."""

import numpy as np

from nearfeed_core.pixie.csr import grouped
from nearfeed_core.pixie.live import LiveGraph
from nearfeed_core.pixie.requests import Graph

Edges = tuple[np.ndarray, np.ndarray]


def random_edges(seed: int, posts: int = 30, readers: int = 40, density: float = 0.15) -> Edges:
    """Posts and readers of distinct edges in random order; each post has a taste of its own for readers."""
    rng = np.random.default_rng(seed)
    chance = np.clip(
        density * rng.exponential(size=(posts, 1)) * rng.exponential(size=(1, readers)), 0.02, 0.9
    )
    edges = np.argwhere(rng.random((posts, readers)) < chance)
    rng.shuffle(edges)
    return edges[:, 0].astype(np.uint32), edges[:, 1].astype(np.uint32)


def live(edges: Edges) -> LiveGraph:
    """Without nodes beyond the last that has an edge."""
    posts, readers = edges
    n_posts, n_readers = (len(np.bincount(nodes)) for nodes in edges)
    return LiveGraph(grouped(posts, readers, n_posts), grouped(readers, posts, n_readers))


def graph_of(edges: Edges) -> Graph:
    return live(edges).graph


def hop(edges: Edges) -> np.ndarray:
    """(posts, posts): the chances of a step from post to reader to post."""
    posts, readers = edges
    read = np.zeros((posts.max() + 1, readers.max() + 1))
    read[posts, readers] = 1
    forth = read / np.maximum(read.sum(axis=1, keepdims=True), 1)
    back = read.T / np.maximum(read.T.sum(axis=1, keepdims=True), 1)
    return np.asarray(forth @ back)


def pagerank(edges: Edges, query: int, restart: float) -> np.ndarray:
    """Personalised PageRank (posts) but for the visit at each start: r e P (I - (1 - r) P)^-1."""
    steps = hop(edges)
    return np.asarray(restart * np.linalg.solve((np.eye(len(steps)) - (1 - restart) * steps).T, steps[query]))
