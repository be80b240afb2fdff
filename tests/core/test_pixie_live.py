"""Edges that are added to a graph while it is walked."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.pixie_graphs import Edges, graph_of, live, random_edges
from nearfeed_core.pixie.csr import Side, degrees_of
from nearfeed_core.pixie.requests import Graph, Rule, best_of, walk_from

NOTHING = np.zeros(0, np.uint32)
seeds = st.integers(0, 2**31)


def split(edges: Edges, at: int) -> tuple[Edges, Edges]:
    posts, readers = edges
    return (posts[:at], readers[:at]), (posts[at:], readers[at:])


def lists_of(side: Side, count: int) -> list[list[int]]:
    """Where each node's edges lead, found by hand."""
    spans = dict(zip(side.keys.tolist(), side.spans.tolist(), strict=True))
    rows = []
    for node in range(count):
        base = side.targets[side.starts[node] : side.starts[node + 1]].tolist() if node < side.nodes else []
        first, end = spans.get(node + 1, (0, 0))
        rows.append(base + side.late[first:end].tolist())
    return rows


def expected_lists(nodes: np.ndarray, targets: np.ndarray, count: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(count)]
    for node, target in zip(nodes.tolist(), targets.tolist(), strict=True):
        rows[node].append(target)
    return rows


def walks_on(graph: Graph, seed: int) -> list[object]:
    queries = np.arange(20)
    visited = walk_from(graph, queries.tolist(), np.ones(20), Rule(steps=2_000, seed=seed))
    return [part.tolist() for part in (*best_of(visited, NOTHING, 100), visited.budgets, visited.found)]


@settings(max_examples=60, deadline=None)
@given(seeds, st.floats(0, 1), st.lists(st.floats(0, 1), max_size=4))
def test_added_compacted_and_built_anew_are_one_graph(seed: int, share: float, cuts: list[float]) -> None:
    edges = random_edges(seed, posts=25, readers=25)
    first, late = split(edges, round(share * len(edges[0])))
    graph = live(first)
    bounds = sorted({0, len(late[0]), *(round(cut * len(late[0])) for cut in cuts)})
    for begin, end in pairwise(bounds):
        assert graph.add(late[0][begin:end], late[1][begin:end]) == end - begin
    added, anew = graph.graph, graph_of(edges)
    graph.compact()
    assert not graph.late_edges
    for either in (added, graph.graph, anew):
        assert lists_of(either.forth, 25) == expected_lists(*edges, 25)
        assert lists_of(either.back, 25) == expected_lists(edges[1], edges[0], 25)
        assert degrees_of(either.forth, range(25)).tolist() == [*map(len, lists_of(anew.forth, 25))]
        assert either.most == anew.most
        assert walks_on(either, seed) == walks_on(anew, seed)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_an_edge_counts_once_however_often_it_is_added(seed: int) -> None:
    edges = random_edges(seed, posts=15, readers=15)
    first, late = split(edges, len(edges[0]) // 2)
    graph = live(first)
    rows = np.random.default_rng(seed).integers(0, max(1, len(late[0])), 2 * len(late[0]))
    assert graph.add(late[0][rows], late[1][rows]) == len(set(rows.tolist()))
    assert graph.add(*edges) == len(late[0]) - len(set(rows.tolist()))
    graph.compact()
    assert graph.add(*edges) == 0
    assert graph.graph.forth.targets.size == len(edges[0])


def test_edges_that_are_added_while_others_are_compacted_stay_late() -> None:
    edges = random_edges(5)
    first, late = split(edges, len(edges[0]) // 2)
    graph = live(first)
    graph.add(late[0][:10], late[1][:10])
    before = graph.graph
    graph.compact()
    graph.add(late[0][10:], late[1][10:])
    assert graph.late_edges == len(late[0]) - 10
    assert lists_of(graph.graph.forth, 30) == expected_lists(*edges, 30)
    assert before.forth.targets.size == len(first[0])


def test_walks_go_on_while_edges_are_added_and_compacted() -> None:
    edges = random_edges(7, posts=200, readers=300, density=0.05)
    first, late = split(edges, len(edges[0]) // 3)
    graph, done, degrees = live(first), threading.Event(), list[int]()

    def walk() -> None:
        while not done.is_set():
            seen = graph.graph
            degrees.append(int(degrees_of(seen.forth, range(200)).sum()))
            assert degrees[-1] == int(degrees_of(seen.back, range(300)).sum())
            posts, _ = best_of(walk_from(seen, [*range(20)], np.ones(20), Rule(steps=500)), NOTHING, 50)
            assert posts.max() < 200

    def compact() -> None:
        while not done.is_set():
            graph.compact()

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(work) for work in (walk, compact)]
        try:
            for row in range(0, len(late[0]), 5):
                graph.add(late[0][row : row + 5], late[1][row : row + 5])
        finally:
            done.set()
        for other in others:
            other.result()
    assert degrees == sorted(degrees)
    graph.compact()
    found = [set(targets) for targets in lists_of(graph.graph.forth, 200)]
    assert found == [set(targets) for targets in expected_lists(*edges, 200)]
    assert graph.graph.forth.targets.size == len(edges[0])
