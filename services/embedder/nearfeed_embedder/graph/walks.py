"""Importance neighbours by random walks with restart over readers and posts (section 3.3)."""

from dataclasses import dataclass

import dgl
import numpy as np
import torch

from nearfeed_core.walks import Transitions, most_visited, transitions
from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.graph.neighbours import Neighbours, neighbours_of


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
    """The most visited posts of each post that has readings, weighted by their visits.

    A seed gives one result, however many threads there are (`torch.get_num_threads`).
    """
    if not len(readings):
        none = torch.empty(0, dtype=torch.int64)
        return neighbours_of(n_items, none, none, none.float())
    graph = reading_graph(readings, n_items)
    posts = np.unique(readings.item).astype(np.int64)
    others, visits = most_visited(
        transitions_of(graph, "read_by"),
        transitions_of(graph, "reads"),
        posts,
        walks=rule.walks,
        hops=rule.hops,
        restart=rule.restart,
        kept=rule.neighbours,
        seed=seed,
        threads=torch.get_num_threads(),
    )
    row, rank = visits.nonzero()
    share = visits[row, rank] / visits.sum(axis=1)[row]
    entries = (posts[row], others[row, rank], share.astype(np.float32))
    return neighbours_of(n_items, *map(torch.from_numpy, entries))


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


def transitions_of(graph: dgl.DGLGraph, relation: str) -> Transitions:
    """Where walks go along a relation."""
    start, to, edge = graph.adj_tensors("csr", etype=relation)
    weight = graph.edges[relation].data["weight"]
    if len(edge):  # dgl leaves it empty where edges are in the order of rows
        weight = weight[edge]
    return transitions(start.numpy(), to.numpy(), weight.double().numpy())
