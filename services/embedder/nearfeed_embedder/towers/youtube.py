"""The candidate generation of Covington, Adams and Sargin, Deep Neural Networks for YouTube Recommendations.

RecSys 2016, section 3: a network over the average of the embeddings of what a reader read, the age of the
example and what else is known of the reader, trained as a softmax over all posts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearfeed_embedder.towers.moments import Batch


@dataclass(frozen=True)
class TowerRule:
    """How the tower is made and trained; `each` is the number of examples of a reader in an epoch.

    Where there are more posts than `negatives`, so many are drawn for a batch by how often they are read.
    `spread` is the deviation of vectors at the start, `forgotten` the share of a history that a batch leaves
    out.
    """

    dim: int = 64
    hidden: int = 128
    dropout: float = 0.5
    epochs: int = 16
    patience: int = 8
    batch: int = 512
    each: int = 25
    negatives: int = 16_384
    learning_rate: float = 1e-3
    decay: float = 1.0
    spread: float = 0.05
    forgotten: float = 0.7


class Tower(nn.Module):
    """From `pooled` (n, dim + 1), whose last column is the sum of weights, to the query (n, dim + 1).

    The query's last column is 1, and meets the bias of each post. As it is called when serving, the age of
    the example is 0 (section 3.3).
    """

    def __init__(self, rule: TowerRule) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(rule.dim + 4, rule.hidden),
            nn.ReLU(),
            nn.Dropout(rule.dropout),
            nn.Linear(rule.hidden, rule.dim),
        )

    def forward(self, pooled: Tensor) -> Tensor:
        return self.query(pooled, torch.zeros_like(pooled[:, :1]))

    def query(self, pooled: Tensor, age: Tensor) -> Tensor:
        """With the age of each example (n, 1); its square and root are given beside it (section 4.1)."""
        known = [pooled[:, :-1], torch.log1p(pooled[:, -1:]), age, age.square(), age.sqrt()]
        query = self.layers(torch.cat(known, 1))
        return torch.cat([query, torch.ones_like(age)], 1)


class TwoRoles(nn.Module):
    """A post as what was read (`contexts`) and as what is found (`vectors`, whose last column is a bias)."""

    def __init__(self, readers_of: Tensor, rule: TowerRule) -> None:
        """With how many readers each post has (posts), by which the biases begin."""
        super().__init__()
        self.contexts = nn.EmbeddingBag(len(readers_of), rule.dim, mode="sum")
        self.vectors = nn.Embedding(len(readers_of), rule.dim + 1)
        self.tower = Tower(rule)
        self.forgotten = rule.forgotten
        nn.init.normal_(self.contexts.weight, 0, rule.dim**-0.5)
        nn.init.normal_(self.vectors.weight, 0, rule.spread)
        with torch.no_grad():
            self.vectors.weight[:, -1] = torch.log((readers_of + 1) / (readers_of.sum() + len(readers_of)))

    def queries(self, batch: Batch) -> Tensor:
        weights = functional.dropout(batch.weights, self.forgotten, self.training)
        pooled = self.contexts(batch.items, batch.starts, per_sample_weights=weights)
        return self.tower.query(torch.cat([pooled, batch.total[:, None]], 1), batch.age[:, None])

    def found(self) -> tuple[Tensor, Tensor]:
        """Vectors and contexts (posts, dim + 1); the last column of the contexts is 1."""
        contexts = self.contexts.weight.detach()
        return self.vectors.weight.detach(), torch.cat([contexts, torch.ones(len(contexts), 1)], 1)
