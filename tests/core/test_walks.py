import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from nearfeed_core.walks import Transitions, most_visited, transitions

# Beyond this chance a test would fail once in a hundred thousand seeds; these are fixed.
LEAST_P = 1e-5


def rows_of(matrix: np.ndarray, *, with_zeros: bool = True) -> Transitions:
    """Where walks go from each row; entries of -1 are no edges, those of 0 are edges of no weight."""
    edges = matrix >= 0 if with_zeros else matrix > 0
    start = np.concatenate([[0], np.cumsum(edges.sum(axis=1))])
    return transitions(start, edges.nonzero()[1], matrix[edges])


def graph_of(read: np.ndarray) -> tuple[Transitions, Transitions]:
    """From posts to readers and back, of the weights (posts, readers)."""
    return rows_of(read), rows_of(np.ascontiguousarray(read.T))


def chances(weights: np.ndarray) -> np.ndarray:
    """Rows that sum to 1, or are 0."""
    weights = np.maximum(weights, 0)
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def expected_visits(read: np.ndarray, hops: int, restart: float) -> np.ndarray:
    """(posts, posts): how often a walk from a post visits each other one, by powers of the chances."""
    hop = chances(read) @ chances(read.T)
    visits = sum((1 - restart) ** nth * np.linalg.matrix_power(hop, nth + 1) for nth in range(hops))
    np.fill_diagonal(visits, 0)
    return np.asarray(visits)


def random_graph(seed: int, posts: int = 7, readers: int = 9) -> np.ndarray:
    """With edges of no weight, a post without readers, one whose readings weigh nothing, and a lone pair."""
    rng = np.random.default_rng(seed)
    kind = rng.random((posts, readers))
    read = np.where(kind < 0.5, rng.exponential(size=kind.shape), np.where(kind < 0.6, 0.0, -1.0))
    read[0] = -1
    read[1] = np.where(kind[1] < 0.5, 0.0, -1.0)
    read[2], read[:, 2] = -1, -1
    read[2, 2] = 3.0
    return read


def visits_of(read: np.ndarray, **rule: float) -> np.ndarray:
    """(posts, posts) of all visits."""
    n = len(read)
    nodes, visits = most_visited(*graph_of(read), np.arange(n), kept=n, **rule)  # type: ignore[arg-type]
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (np.arange(n)[:, None], nodes), visits)
    return counts


weight_rows = st.lists(st.lists(st.just(0.0) | st.floats(1e-9, 1e9), max_size=12), min_size=1, max_size=6)


@given(weight_rows)
def test_slots_hold_each_edge_by_its_share_of_the_weight(rows: list[list[float]]) -> None:
    start = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    to = np.concatenate([np.arange(len(row)) for row in rows]).astype(np.int64)
    table = transitions(start, to, np.concatenate([np.array(row, np.float64) for row in rows]))
    for node, row in enumerate(rows):
        found = np.zeros(len(row))
        slots = table.slots[table.start[node] : table.start[node + 1]].astype(np.int64)
        for threshold, first, second in slots:
            found[first] += threshold / 2**32 / len(slots)
            found[second] += (1 - threshold / 2**32) / len(slots)
        np.testing.assert_allclose(found, chances(np.array([row]))[0], atol=1e-8)
        assert not found[np.array(row) == 0].any()


@pytest.mark.parametrize("seed", range(5))
def test_one_hop_goes_where_the_weights_say(seed: int) -> None:
    read, walks = random_graph(seed), 100_000
    visits = visits_of(read, walks=walks, hops=1, restart=0.0, seed=seed)
    hop = chances(read) @ chances(read.T)
    for post in range(len(read)):
        found = visits[post].copy()
        possible = hop[post] > 0
        assert not found[~possible].any()
        if possible.sum() > 1:
            found[post] = walks - found.sum()
            assert chisquare(found[possible], walks * hop[post, possible]).pvalue > LEAST_P


@pytest.mark.parametrize(("hops", "restart"), [(2, 0.5), (3, 0.2), (4, 0.0), (3, 1.0)])
def test_visits_are_those_of_the_powers_of_the_chances(hops: int, restart: float) -> None:
    for seed in range(5):
        read, walks = random_graph(seed), 100_000
        visits = visits_of(read, walks=walks, hops=hops, restart=restart, seed=seed) / walks
        expected = expected_visits(read, hops, restart)
        assert not visits[expected == 0].any()
        # A post's visits are the sum of one chance per hop, so their variance is at most hops * expected.
        np.testing.assert_array_less(np.abs(visits - expected), 5 * np.sqrt(hops * expected / walks) + 1e-9)


def test_walks_from_different_starts_and_seeds_are_independent() -> None:
    # All posts are read by one reader: a walk from any of them may visit all of them alike.
    n, found = 1_000, np.zeros(1_000)
    graph = graph_of(np.ones((n, 1)))
    for seed in range(20):
        nodes, visits = most_visited(*graph, np.arange(n), walks=1, hops=1, restart=0.0, kept=1, seed=seed)
        found += np.bincount(nodes[visits > 0], minlength=n)
    assert chisquare(found).pvalue > LEAST_P


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 12))
def test_the_most_visited_are_kept_in_order(seed: int, kept: int) -> None:
    read = random_graph(seed, posts=12)
    rule = {"walks": 50, "hops": 2, "restart": 0.3, "seed": seed}
    everything = visits_of(read, **rule)
    nodes, visits = most_visited(*graph_of(read), np.arange(12), kept=kept, **rule)  # type: ignore[arg-type]
    for post, counts in enumerate(everything):
        order = np.lexsort((np.arange(12), -counts))[:kept]
        assert visits[post].tolist() == counts[order].tolist()
        assert nodes[post].tolist() == np.where(counts[order] > 0, order, 0).tolist()


def test_a_seed_gives_one_result_with_any_number_of_threads_and_starts() -> None:
    read = random_graph(0, posts=60, readers=40)
    rule = {"walks": 30, "hops": 2, "restart": 0.5, "kept": 10}

    def found(starts: np.ndarray, seed: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
        return most_visited(*graph_of(read), starts, seed=seed, threads=threads, **rule)  # type: ignore[arg-type]

    nodes, visits = found(np.arange(60), seed=1, threads=1)
    for threads in (1, 2, 3, 64):
        for one, other in zip((nodes, visits), found(np.arange(60), 1, threads), strict=True):
            np.testing.assert_array_equal(one, other)
    few = np.array([40, 3])
    np.testing.assert_array_equal(found(few, 1, 2)[1], visits[few])
    assert not np.array_equal(found(np.arange(60), 2, 1)[1], visits)


def test_nothing_is_visited_from_nowhere() -> None:
    nodes, visits = most_visited(
        *graph_of(random_graph(0)), np.arange(0), walks=3, hops=2, restart=0.5, kept=4, seed=0, threads=2
    )
    assert nodes.shape == visits.shape == (0, 4)
    alone = visits_of(np.array([[2.0, -1.0], [-1.0, 1.0]]), walks=9, hops=2, restart=0.5, seed=0)
    assert not alone.any()
