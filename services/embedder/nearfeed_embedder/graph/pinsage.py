"""The network of PinSage: a post's own features, and two layers of importance pooling over others."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from nearfeed_embedder.graph.features import Features
from nearfeed_embedder.graph.group import COUNTERS
from nearfeed_embedder.graph.neighbours import Neighbours, pool_neighbours


@dataclass(frozen=True)
class Shape:
    """The sizes of a network: those of its input, and `dim` of what comes out."""

    text_dim: int
    communities: int
    tags: int
    dim: int = 128
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.1
    id_dropout: float = 0.3

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Readership:
    """What is known of posts by their readers: counters (n, COUNTERS), their neighbours, and which
    posts (n, bool) are to be treated as unread all the same."""

    counters: Tensor
    neighbours: Neighbours
    unread: Tensor


class PinSage(nn.Module):
    """Posts to unit vectors (n, dim). The same vector is found by a search and makes up a reader."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden = shape.hidden
        self.shape = shape
        self.text = nn.Linear(shape.text_dim, hidden)
        self.community = nn.Embedding(shape.communities + 1, hidden, padding_idx=0)
        self.tags = nn.EmbeddingBag(shape.tags + 1, hidden, mode="mean", padding_idx=0)
        self.counters = nn.Sequential(
            nn.Linear(COUNTERS, hidden), nn.ReLU(), nn.Linear(hidden, hidden, bias=False)
        )
        self.no_id = nn.Parameter(torch.zeros(hidden))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(shape.layers + 1))
        self.neighbour = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(shape.layers))
        self.combine = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(shape.layers))
        self.vector = nn.Linear(hidden, shape.dim)
        self.dropout = nn.Dropout(shape.dropout)
        nn.init.normal_(self.community.weight, std=0.02)
        nn.init.normal_(self.tags.weight, std=1 / hidden**0.5)

    def forward(
        self, posts: Features, ids: Tensor | None = None, readership: Readership | None = None
    ) -> Tensor:
        """With learned `ids` (n, hidden) and a readership for read posts, without both for new ones."""
        known = self.text(posts.text) + self.community(posts.community) + self.tags(posts.tags)
        known = known + self._of_readers(len(posts), ids, readership)
        hidden = self.dropout(self.norms[0](known))
        for neighbour, combine, norm in zip(self.neighbour, self.combine, self.norms[1:], strict=True):
            pooled = _pooled(relu(neighbour(hidden)), readership)
            mixed = relu(combine(torch.cat([hidden, pooled], dim=1)))
            hidden = norm(hidden + self.dropout(mixed))
        return normalize(self.vector(hidden), dim=1)

    def _of_readers(self, n: int, ids: Tensor | None, readership: Readership | None) -> Tensor:
        if ids is None or readership is None:
            unread_counters: Tensor = self.counters(self.no_id.new_zeros(n, COUNTERS))
            return unread_counters + self.no_id
        unread = readership.unread[:, None]
        dropped = unread
        if self.training:
            dropped = unread | (torch.rand_like(self.no_id[:1].expand(n))[:, None] < self.shape.id_dropout)
        counters: Tensor = self.counters(readership.counters.masked_fill(unread, 0))
        return counters + torch.where(dropped, self.no_id, ids)


def _pooled(hidden: Tensor, readership: Readership | None) -> Tensor:
    if readership is None:
        return torch.zeros_like(hidden)
    return pool_neighbours(hidden, readership.neighbours).masked_fill(readership.unread[:, None], 0)
