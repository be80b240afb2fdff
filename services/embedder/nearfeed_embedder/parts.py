"""A post's vector and context are made of two parts: the network's, and the linear one.

| part | vector | context | reader |
|---|---|---|---|
| graph (PinSage) | unit vector; a new post: about half of one | the same | weighted average, times a scale |
| linear | what a search finds | what a reading adds | weighted sum |

Inner products of such vectors are sums over the parts, so one search ranks by both models.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfeed_contracts.runs import Block
from nearfeed_core.projection import unit_rows
from nearfeed_embedder.linear.autoencoder import Roles

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
        """Each by its row of `shifts`, which are differences of `flat`; the graph's have length 1 then.

        A row of 0 leaves what it is.
        """
        graph_dim, linear_dim = self.graph.shape[1], self.linear_vectors.shape[1]
        graph, vectors, contexts = np.split(self.flat + shifts, [graph_dim, graph_dim + linear_dim], axis=1)
        turned = unit_rows(graph).astype(np.float32, copy=False)
        graph = np.where(shifts.any(axis=1, keepdims=True), turned, self.graph)
        return Parts(graph, vectors, contexts)


def blocks_of(graph_dim: int, linear_dim: int, scale: float) -> tuple[Block, ...]:
    """How a reader is pooled; `scale` is what the graph's part counts beside the linear one."""
    return (
        Block(start=0, dim=graph_dim, pooling="mean", scale=scale),
        Block(start=graph_dim, dim=linear_dim, pooling="sum"),
    )


def parts_of(graph: Vectors, roles: Roles, read: NDArray[np.bool_], as_new: Parts) -> Parts:
    """Of all posts: those that were not `read` (n) as new ones; of others, those that the linear part left
    out have its roles as new ones."""
    known = roles.known[:, None]
    return Parts(
        np.where(read[:, None], graph, as_new.graph),
        np.where(known, roles.vectors, as_new.linear_vectors),
        np.where(known, roles.contexts, as_new.linear_contexts),
    )
