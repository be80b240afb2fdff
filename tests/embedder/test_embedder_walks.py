import dgl
import numpy as np
import pytest
import torch
from benchmarks.walks import dgl_walks

from nearfeed_embedder.dataset import Readings
from nearfeed_embedder.graph.walks import WalkRule, importance_neighbours, reading_graph

POSTS = 12


def random_readings(seed: int) -> Readings:
    """In no order, with a post that is read by nobody, one that is read alone, and weights of 0."""
    rng = np.random.default_rng(seed)
    reader, item = np.nonzero(rng.random((9, POSTS - 2)) < 0.4)
    reader, item = np.append(reader, 9), np.append(item, POSTS - 1)
    weight = np.where(rng.random(len(reader)) < 0.15, 0, rng.exponential(size=len(reader)))
    # dgl ends the process where all edges of a node weigh nothing.
    weight[np.unique(item, return_index=True)[1]] = 1
    weight[np.unique(reader, return_index=True)[1]] = 1
    order = rng.permutation(len(reader))
    return Readings(reader[order], item[order], np.zeros(len(reader), np.int64), weight[order])


def visited_by_dgl(readings: Readings, rule: WalkRule) -> np.ndarray:
    """(posts, posts): how often a walk of dgl's from a post visits each other one."""
    dgl.seed(0)
    posts = np.unique(readings.item)
    traces = dgl_walks(reading_graph(readings, POSTS), posts, rule)
    visits = np.zeros((POSTS, POSTS))
    for trace in traces[:, 2::2].T:
        np.add.at(visits, (traces[trace >= 0, 0], trace[trace >= 0]), 1)
    np.fill_diagonal(visits, 0)
    return visits / rule.walks


def shares(readings: Readings, rule: WalkRule) -> np.ndarray:
    """(posts, posts) of the neighbours' weights."""
    found = importance_neighbours(readings, POSTS, rule, seed=5)
    ends = torch.cat([found.start[1:], torch.tensor([len(found.to)])])
    dense = np.zeros((POSTS, POSTS))
    rows = np.repeat(np.arange(POSTS), (ends - found.start).numpy())
    dense[rows, found.to.numpy()] = found.weight.numpy()
    return dense


@pytest.mark.parametrize(("hops", "restart"), [(1, 0.0), (2, 0.5), (3, 0.2)])
@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_those_that_walks_of_dgl_visit(seed: int, hops: int, restart: float) -> None:
    readings = random_readings(seed)
    rule = WalkRule(walks=50_000, hops=hops, restart=restart, neighbours=POSTS)
    visits, found = visited_by_dgl(readings, rule), shares(readings, rule)
    total = visits.sum(axis=1, keepdims=True)
    expected = np.divide(visits, total, out=np.zeros_like(visits), where=total > 0)
    distance = np.abs(found - expected).sum(axis=1) / 2
    # Two samples of `walks` visits or more over eleven posts are about .005 apart in total variation.
    assert distance.max() < 0.02


def test_neighbours_do_not_depend_on_the_number_of_threads() -> None:
    readings, before = random_readings(0), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(shares(readings, WalkRule()))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_posts_whose_readings_weigh_nothing_have_no_neighbours() -> None:
    readings = Readings(*(np.array(column) for column in ([0, 0, 1], [0, 1, 1], [0, 0, 0], [0.0, 0.0, 2.0])))
    assert not shares(readings, WalkRule()).any()
