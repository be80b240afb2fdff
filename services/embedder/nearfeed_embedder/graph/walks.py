"""Importance neighbours by random walks with restart over readers and posts (section 3.3)."""

from dataclasses import dataclass

import dgl
import numpy as np
import torch
from torch import Tensor

from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.graph.neighbours import Neighbours, neighbours_of

_POSTS_AT_ONCE = 20_000


@dataclass(frozen=True)
class WalkRule:
    """From each post start `walks` walks of up to `hops` steps to a reader and on to a post.

    Before each hop but the first a walk ends with probability `restart`. The `neighbours` that were
    visited most are kept.
    """

    walks: int = 30
    hops: int = 2
    restart: float = 0.5
    neighbours: int = 20


def importance_neighbours(readings: Readings, n_items: int, rule: WalkRule, seed: int) -> Neighbours:
    """The most visited posts of each post that has readings, weighted by their visits."""
    if not len(readings):
        none = torch.empty(0, dtype=torch.int64)
        return neighbours_of(n_items, none, none, none.float())
    graph = reading_graph(readings, n_items)
    dgl.seed(seed)
    posts = torch.unique(torch.from_numpy(readings.item))
    parts = [_most_visited(graph, part, n_items, rule) for part in posts.split(_POSTS_AT_ONCE)]
    post, other, count = (torch.cat(columns) for columns in zip(*parts, strict=True))
    total = torch.zeros(n_items).index_add_(0, post, count)
    return neighbours_of(n_items, post, other, count / total[post])


def reading_graph(readings: Readings, n_items: int) -> dgl.DGLGraph:
    """Readers and posts, related both ways, each edge with the reading's weight."""
    reader, item = torch.from_numpy(readings.reader), torch.from_numpy(readings.item)
    weight = torch.from_numpy(readings.weight).float()
    graph = dgl.heterograph(
        {("post", "read_by", "reader"): (item, reader), ("reader", "reads", "post"): (reader, item)},
        {"post": n_items, "reader": int(readings.reader.max()) + 1},
    )
    for relation in ("read_by", "reads"):
        graph.edges[relation].data["weight"] = weight
    return graph


def _most_visited(
    graph: dgl.DGLGraph, posts: Tensor, n_items: int, rule: WalkRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of posts and visits (float), sorted by post and visits; at most `neighbours` of a post."""
    start = posts.repeat_interleave(rule.walks)
    restart = torch.tensor([0.0, 0.0] + [rule.restart, 0.0] * (rule.hops - 1))
    path = ["read_by", "reads"] * rule.hops
    trace, _ = dgl.sampling.random_walk(graph, start, metapath=path, prob="weight", restart_prob=restart)
    visited = trace[:, 2::2]
    elsewhere = (visited >= 0) & (visited != start[:, None])
    pairs, count = torch.unique((start[:, None] * n_items + visited)[elsewhere], return_counts=True)
    post, other = pairs // n_items, pairs % n_items
    order = torch.from_numpy(np.lexsort((other.numpy(), -count.numpy(), post.numpy())))
    post, other, count = post[order], other[order], count[order]
    rank = torch.arange(len(post)) - torch.searchsorted(post, post)
    kept = rank < rule.neighbours
    return post[kept], other[kept], count[kept].float()
