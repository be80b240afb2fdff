"""A made-up graph of who read what, by power laws, with communities or without.

A twentieth as many readers as edges, a fiftieth as many posts. How much a reader reads is a Pareto variable,
so that a few read thousands of posts. The post of rank r is read in proportion to r^(-0.8), as pages of the
web are (Breslau et al., INFOCOM 1999: exponents of 0.64 to 0.83). Nobody reads a post twice.

With communities these are ranks within a post's community. Their sizes fall by a power law too; a reader
has three, large ones more often, and reads four times in five in one of them, else in any.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.pixie.csr import Numbers
from nearfeed_core.splitmix import compiled

_READINGS, _READERS_OF_POST = 20, 50
_PARETO = 1.3
_MOST_READINGS = 5_000
_POSTS_OF_COMMUNITY = 1_000
_OWN, _OWN_SHARE = 3, 0.8
_SKEW = 5  # 1 / (1 - 0.8): the rank of a draw is n * uniform^5


class Made(NamedTuple):
    """Posts and readers (edges) of distinct edges, and how many there are of both; numbers tell nothing."""

    posts: Numbers
    readers: Numbers
    n_posts: int
    n_readers: int


def make(edges: int, *, communities: bool = False, seed: int = 0) -> Made:
    """With edges in the order of their readers."""
    n_posts, n_readers = edges // _READERS_OF_POST, edges // _READINGS
    rng = np.random.default_rng(seed)
    degrees = _degrees(1 + rng.pareto(_PARETO, n_readers), edges, min(_MOST_READINGS, n_posts // 10))
    bounds = _communities(n_posts) if communities else np.array([0, n_posts])
    posts, readers = np.empty((2, edges), np.uint32)
    names = rng.permutation(n_posts).astype(np.uint32)
    _read(degrees, bounds, names, rng.integers(2**32), posts, readers)
    return Made(posts, readers, n_posts, n_readers)


def _degrees(shares: NDArray[np.float64], total: int, most: int) -> NDArray[np.int64]:
    """Whole numbers from 1 to `most` that sum to `total`, about in proportion to shares."""
    degrees = np.ones(len(shares), np.int64)
    for _ in range(10):
        shares *= total / degrees.sum()
        degrees = np.clip(np.round(shares), 1, most).astype(np.int64)
    missing = total - int(degrees.sum())
    free = np.flatnonzero((degrees > 1) & (degrees < most))[: abs(missing)]
    degrees[free] += np.sign(missing)
    return degrees


def _communities(n_posts: int) -> NDArray[np.int64]:
    """Where the posts of each begin, and the end of the last."""
    sizes = 1 / np.sqrt(np.arange(1, max(2, n_posts // _POSTS_OF_COMMUNITY) + 1))
    bounds = np.round(np.concatenate([[0], np.cumsum(sizes / sizes.sum())]) * n_posts)
    return bounds.astype(np.int64)


@compiled("int64(int64[::1], int64[::1])")
def _drawn(bounds: Any, own: Any) -> Any:
    if np.random.random() < _OWN_SHARE:
        community = own[np.random.randint(len(own))]
    else:
        drawn = np.int64(np.random.random() * bounds[-1])
        community = np.searchsorted(bounds, drawn, side="right") - 1
    first, end = bounds[community], bounds[community + 1]
    return first + np.int64((end - first) * np.random.random() ** _SKEW)


@compiled("void(int64[::1], int64[::1], uint32[::1], int64, uint32[::1], uint32[::1])")
def _read(degrees: Any, bounds: Any, names: Any, seed: Any, posts: Any, readers: Any) -> None:
    np.random.seed(seed)
    n_posts = bounds[-1]
    last_reader = np.full(n_posts, -1, np.int64)
    own = np.empty(_OWN, np.int64)
    edge = 0
    for reader in range(len(degrees)):
        for place in range(_OWN):
            own[place] = np.searchsorted(bounds, np.int64(np.random.random() * n_posts), side="right") - 1
        for _ in range(degrees[reader]):
            post = _drawn(bounds, own)
            while last_reader[post] == reader:
                post = _drawn(bounds, own)
            last_reader[post] = reader
            posts[edge], readers[edge] = names[post], reader
            edge += 1
