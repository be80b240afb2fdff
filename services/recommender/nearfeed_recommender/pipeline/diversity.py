"""Order by vectors: near-duplicates, maximal marginal relevance, and less of what a user has turned down.

All take unit rows: vectors (n, dim) of length 1, or zeros for a post that has none.
"""

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.projection import unit_rows
from nearfeed_recommender.catalog.columns import Mask, Rows
from nearfeed_recommender.catalog.embeddings import Embeddings

Vectors = NDArray[np.float32]
Values = NDArray[np.float64]
ROUNDING = 1e-6
CLOSE = 0.95
"""From this cosine with a post that the user wants less of, a post is not shown at all."""
STRENGTH = 0.5
"""What a post loses that is wholly like one, where the first of the candidates is worth 1, the last 0."""


def unit_vectors(embeddings: Embeddings, space: str, rows: Rows) -> Vectors:
    """(n, dim) the input embeddings of posts in a space, scaled to length 1; zeros for one that has none."""
    found = embeddings.of(space, rows)
    units = np.zeros((len(rows), found.vectors.shape[1]), np.float32)
    units[found.known] = unit_rows(found.vectors)
    return units


def without_near_duplicates(units: Vectors, similarity: float) -> Mask:
    """Which rows stay: not those whose cosine with one that stays before it is `similarity` or more.

    A row of zeros resembles none.
    """
    close = units @ units.T >= similarity - ROUNDING
    dropped = np.zeros(len(units), np.bool_)
    for index in np.flatnonzero(np.triu(close, k=1).any(axis=1)):
        if not dropped[index]:
            dropped[index + 1 :] |= close[index, index + 1 :]
    return ~dropped


def marginal_order(units: Vectors, strength: float) -> list[int]:
    """The rows (n), each the best after those before it.

    The best has the highest (1 - strength) * (1 - row / n) - strength * its highest cosine with a row
    taken before it; of equals it is the first (Carbonell and Goldstein, SIGIR 1998).
    """
    if not len(units):
        return []
    likeness = strength * (units @ units.T)
    worth = (1 - strength) * (1 - np.arange(len(units)) / len(units))
    worth[0] = -np.inf
    order, closest = [0], likeness[0].copy()
    for _ in range(len(units) - 1):
        best = int(np.argmax(worth - closest))
        order.append(best)
        worth[best] = -np.inf
        np.maximum(closest, likeness[best], out=closest)
    return order


def nearness(units: Vectors, unwanted: Vectors) -> Values:
    """(n) the highest cosine of each row with one of `unwanted` (m, dim); NaN where either has no vector.

    Each unwanted post is a model of its own of what is not wanted, of which the nearest decides (MultiNeg of
    Wang, Fang and Zhai, "A study of methods for negative relevance feedback", SIGIR 2008).
    """
    some = unwanted[unwanted.any(axis=1)] if unwanted.size else unwanted
    if not len(some) or not units.size:
        return np.full(len(units), np.nan)
    cosines = (units @ some.T).max(axis=1).astype(np.float64)
    return np.where(units.any(axis=1), cosines, np.nan)


def is_close(near: Values) -> Mask:
    return np.asarray(near >= CLOSE - ROUNDING)


def demoted_order(near: Values) -> list[int]:
    """The places 0 to n - 1 by worth, best first, of equals the first: 1 - place / n - STRENGTH * excess.

    The excess is how far the nearness (n) lies above its mean m, as a share of what there is: (near - m) /
    (1 - m), 0 below it and where nothing is known. So a space whose cosines are all high moves no post.
    """
    known = near[~np.isnan(near)]
    mean = float(known.mean()) if known.size else 0.0
    excess = np.nan_to_num(np.clip((near - mean) / max(1.0 - mean, ROUNDING), 0.0, 1.0))
    worth = 1.0 - np.arange(len(near)) / max(len(near), 1) - STRENGTH * excess
    return [int(index) for index in np.argsort(-worth, kind="stable")]
