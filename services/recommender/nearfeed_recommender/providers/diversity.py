"""Slate rules that look at vectors: near-duplicates and maximal marginal relevance."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.directions import unit_rows
from nearfeed_recommender.config.schema import Diversity, NearDuplicates
from nearfeed_recommender.providers.candidates import Candidate

Vector = NDArray[np.float32]
ROUNDING = 1e-6


def without_near_duplicates(
    rule: NearDuplicates, candidates: Sequence[Candidate], vectors: Mapping[str, Vector]
) -> list[Candidate]:
    """Leaves out a post whose cosine with one that stays before it is `similarity` or more.

    A post without a vector, or with zeros, resembles none.
    """
    units = unit_vectors([candidate.item_id for candidate in candidates], vectors)
    close = units @ units.T >= rule.similarity - ROUNDING
    dropped = np.zeros(len(candidates), np.bool_)
    for index in np.flatnonzero(np.triu(close, k=1).any(axis=1)):
        if not dropped[index]:
            dropped[index + 1 :] |= close[index, index + 1 :]
    return [candidate for candidate, drop in zip(candidates, dropped, strict=True) if not drop]


def diversified(
    rule: Diversity, candidates: Sequence[Candidate], vectors: Mapping[str, Vector]
) -> list[Candidate]:
    """The first `depth` by maximal marginal relevance, the others as they were; those that moved are marked.

    Relevance is 1 - place / depth, so that a strength means the same whatever the scores are.
    """
    top = candidates[: rule.depth]
    units = unit_vectors([candidate.item_id for candidate in top], vectors)
    order = marginal_order(units, rule.strength)
    moved = [
        top[index] if index == place else top[index].marked("slate:mmr", place + 1, top[index].score)
        for place, index in enumerate(order)
    ]
    return [*moved, *candidates[rule.depth :]]


def marginal_order(units: Vector, strength: float) -> list[int]:
    """The rows of `units` (n, dim; unit length or zeros), each the best after those before it.

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


def unit_vectors(ids: Collection[str], vectors: Mapping[str, Vector]) -> Vector:
    """(n, dim) rows of length 1; zeros for a post that has no vector."""
    known = [vectors.get(item_id) for item_id in ids]
    dim = next((len(vector) for vector in known if vector is not None), 0)
    rows = np.zeros((len(known), dim), np.float32)
    for row, vector in zip(rows, known, strict=True):
        if vector is not None:
            row[:] = vector
    return unit_rows(rows)
