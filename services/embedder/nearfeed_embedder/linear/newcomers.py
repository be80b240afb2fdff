"""The linear roles of posts that nobody has read yet, from what the network says of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_embedder.linear.autoencoder import Roles

Vectors = NDArray[np.float32]
_RIDGE = 1.0


@dataclass(frozen=True)
class Newcomers:
    """`weights` (graph dim + 1, 2 · linear dim) take a new post's vector, and 1, to both of its roles."""

    weights: Vectors

    def roles(self, as_new: Vectors) -> tuple[Vectors, Vectors]:
        """Contexts and vectors (n, linear dim) of posts by their vectors as new ones, (n, graph dim)."""
        contexts, vectors = np.split(_with_one(as_new) @ self.weights, 2, axis=1)
        return contexts, vectors


def fit_newcomers(as_new: Vectors, roles: Roles, readers_of: NDArray[np.intp]) -> Newcomers:
    """A ridge map from posts as if they were new to their roles, each post by the number of its readers."""
    rows = _with_one(as_new[roles.known]).astype(np.float64)
    wanted = np.concatenate([roles.contexts, roles.vectors], axis=1)[roles.known]
    counted = rows * readers_of[roles.known, None]
    solved = np.linalg.solve(counted.T @ rows + _RIDGE * np.eye(rows.shape[1]), counted.T @ wanted)
    return Newcomers(solved.astype(np.float32))


def _with_one(rows: Vectors) -> Vectors:
    return np.concatenate([rows, np.ones((len(rows), 1), rows.dtype)], axis=1)
