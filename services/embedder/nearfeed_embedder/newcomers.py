"""Vectors of posts that nobody has read yet, from those of posts that resemble them.

Kernel ridge regression (Saunders et al., ICML 1998) on few basis posts (the subset of regressors; Rasmussen
and Williams, 2006, section 8.3.1). Posts resemble each other by text, tags, community and what the network
says of them without readers. The likeness of texts falls off fast, which tells a sequel from a post that is
merely of the same kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg, sparse

from nearfeed_embedder.dataset import Rows
from nearfeed_embedder.graph.features import Features
from nearfeed_embedder.parts import Parts

Vectors = NDArray[np.float32]
MOST_LANDMARKS = 2_000
RIDGE = 20.0
TEXT_WEIGHT, TEXT_DECAY = 4.0, 4.0
NETWORK_WEIGHT = 0.25
GRAPH_TRUST = 0.5
_JITTER = 1e-6
_POSTS_AT_ONCE = 8_192


@dataclass(frozen=True)
class Unread:
    """What is known of n posts without their readers; `network` (n, graph dim) by PinSage."""

    features: Features
    network: Vectors

    def __len__(self) -> int:
        return len(self.network)

    def take(self, rows: Rows) -> "Unread":
        return Unread(self.features.take(torch.from_numpy(rows)), self.network[rows])


@dataclass(frozen=True)
class Known:
    """The trained parts of n posts, which `rows` (n, bool) of them hold, and how many readers each has."""

    parts: Parts
    rows: NDArray[np.bool_]
    readers_of: Rows

    def without(self, rows: NDArray[np.bool_]) -> "Known":
        return replace(self, rows=self.rows & ~rows)


@dataclass(frozen=True)
class Newcomers:
    """`weights` (m, flat dim of the parts) of the similarities to m `landmarks` give a post's parts.

    `reach` is what the linear vector is multiplied by, so that new posts get their share of the places.
    """

    landmarks: Unread
    weights: Vectors
    reach: float = 1.0

    def parts(self, posts: Unread) -> Parts:
        """Of n posts as if nobody had read them.

        The graph's part counts half, for it is less sure of new posts than the linear one.
        """
        parts = np.array_split(np.arange(len(posts)), max(1, -(-len(posts) // _POSTS_AT_ONCE)))
        flat = np.concatenate([similarity(posts.take(rows), self.landmarks) @ self.weights for rows in parts])
        graph_dim = posts.network.shape[1]
        linear_dim = (flat.shape[1] - graph_dim) // 2
        graph, vectors, contexts = np.split(flat, [graph_dim, graph_dim + linear_dim], axis=1)
        return Parts(np.float32(GRAPH_TRUST) * graph, np.float32(self.reach) * vectors, contexts)


def fit_newcomers(posts: Unread, known: Known) -> Newcomers:
    """From the posts that are known, each counting once; some post must be.

    The landmarks are those that most readers have read.
    """
    rows = np.flatnonzero(known.rows)
    order = np.argsort(-known.readers_of[rows], kind="stable")
    landmarks = posts.take(np.sort(rows[order[:MOST_LANDMARKS]]))
    # Posts that are alike make the gram singular but for the jitter, which float32 would not hold.
    similar = similarity(posts.take(rows), landmarks).astype(np.float64)
    gram = similar.T @ similar + RIDGE * similarity(landmarks, landmarks)
    gram[np.diag_indices(len(gram))] += _JITTER * np.trace(gram) / len(gram)
    weights = linalg.solve(gram, similar.T @ known.parts.flat[rows], assume_a="pos", overwrite_a=True)
    return Newcomers(landmarks, weights.astype(np.float32))


def to_arrays(newcomers: Newcomers) -> dict[str, NDArray[Any]]:
    """What `from_arrays` takes."""
    posts = newcomers.landmarks
    return {
        "weights": newcomers.weights,
        "reach": np.array([newcomers.reach]),
        "text": posts.features.text.numpy(),
        "community": posts.features.community.numpy(),
        "tags": posts.features.tags.numpy(),
        "network": posts.network,
    }


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Newcomers:
    """Raises KeyError where one is missing."""
    features = Features(*(torch.from_numpy(arrays[name]) for name in ("text", "community", "tags")))
    return Newcomers(Unread(features, arrays["network"]), arrays["weights"], float(arrays["reach"][0]))


def similarity(some: Unread, others: Unread) -> Vectors:
    """(n, m), positive semidefinite between posts and themselves."""
    text = some.features.text.numpy() @ others.features.text.numpy().T
    found = TEXT_WEIGHT * np.exp(TEXT_DECAY * (text - 1)) + 1
    found += NETWORK_WEIGHT * (some.network @ others.network.T)
    for bags in (_communities, _tags):
        one, other = (unit_bags(bags(posts.features)) for posts in (some, others))
        words = max(one.shape[1], other.shape[1])
        one.resize(one.shape[0], words)
        other.resize(other.shape[0], words)
        found += (one @ other.T).toarray()
    return np.asarray(found, np.float32)


def _communities(features: Features) -> Rows:
    return features.community.numpy()[:, None]


def _tags(features: Features) -> Rows:
    return features.tags.numpy()


def unit_bags(indices: Rows) -> "sparse.csr_matrix":
    """Rows of length 1 over words, from indices (n, most words of a post) that count from 1; 0 is none."""
    row, column = np.nonzero(indices)
    length = np.sqrt(np.maximum((indices > 0).sum(1), 1)).astype(np.float32)
    shape = (len(indices), int(indices.max(initial=0)) + 1)
    return sparse.csr_matrix((1 / length[row], (row, indices[row, column])), shape=shape)
