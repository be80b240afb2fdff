"""A post's vector and context are made of two parts: the network's, and the linear one.

| part | vector | context | reader |
|---|---|---|---|
| graph (PinSage) | unit vector | the same | weighted average, times a scale |
| linear | what a search finds | what a reading adds | weighted sum |

Inner products of such vectors are sums over the parts, so one search ranks by both models.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import Block
from nearfeed_embedder.linear.autoencoder import Roles
from nearfeed_embedder.linear.newcomers import Newcomers

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Parts:
    """`graph` (n, graph dim), `linear_vectors` and `linear_contexts` (n, linear dim) of n posts."""

    graph: Vectors
    linear_vectors: Vectors
    linear_contexts: Vectors

    @property
    def vectors(self) -> Vectors:
        return np.concatenate([self.graph, self.linear_vectors], axis=1)

    @property
    def contexts(self) -> Vectors:
        return np.concatenate([self.graph, self.linear_contexts], axis=1)

    @property
    def flat(self) -> Vectors:
        """All three side by side."""
        return np.concatenate([self.graph, self.linear_vectors, self.linear_contexts], axis=1)

    def moved(self, shifts: Vectors) -> "Parts":
        """Each by its row of `shifts`, which are differences of `flat`; the graph's keep length 1."""
        graph_dim, linear_dim = self.graph.shape[1], self.linear_vectors.shape[1]
        graph, vectors, contexts = np.split(self.flat + shifts, [graph_dim, graph_dim + linear_dim], axis=1)
        return Parts(graph / np.linalg.norm(graph, axis=1, keepdims=True), vectors, contexts)


def blocks_of(graph_dim: int, linear_dim: int, scale: float) -> tuple[Block, ...]:
    """How a reader is pooled; `scale` is what the graph's part counts beside the linear one."""
    return (
        Block(start=0, dim=graph_dim, pooling="mean", scale=scale),
        Block(start=graph_dim, dim=linear_dim, pooling="sum"),
    )


def parts_as_new(as_new: Vectors, newcomers: Newcomers) -> Parts:
    """Of posts as if nobody had read them, by the network's vectors for them (n, graph dim)."""
    contexts, vectors = newcomers.roles(as_new)
    return Parts(as_new, vectors, contexts)


def parts_of(graph: Vectors, roles: Roles, as_new: Parts) -> Parts:
    """Of the posts that were trained on; those that the linear part left out have its roles as new ones."""
    known = roles.known[:, None]
    return Parts(
        graph,
        np.where(known, roles.vectors, as_new.linear_vectors),
        np.where(known, roles.contexts, as_new.linear_contexts),
    )
