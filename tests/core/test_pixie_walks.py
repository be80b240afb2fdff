import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from core.pixie_graphs import graph_of, pagerank, random_edges
from nearfeed_core.pixie.requests import Graph, Rule, Visits, best_of, steps_of, walk_from

NOTHING = np.zeros(0, np.uint32)
seeds = st.integers(0, 2**31)


def walked(graph: Graph, queries: list[int], rule: Rule, weights: list[float] | None = None) -> Visits:
    return walk_from(graph, queries, np.array(weights or [1.0] * len(queries)), rule)


def visits_of(visited: Visits, query: int) -> dict[int, int]:
    rows = slice(visited.begins[query], visited.begins[query] + visited.found[query])
    return dict(zip(visited.posts[rows].tolist(), visited.visits[rows].tolist(), strict=True))


def dense(visited: Visits, query: int, posts: int) -> np.ndarray:
    counts = np.zeros(posts)
    for post, visits in visits_of(visited, query).items():
        counts[post] = visits
    return counts


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from([0.2, 0.5, 0.8]), st.sampled_from([1, 16, 32]))
def test_visits_rank_posts_as_personalised_pagerank_does(seed: int, restart: float, walkers: int) -> None:
    edges = random_edges(seed)
    query, graph = int(edges[0][0]), graph_of(edges)
    rule = Rule(steps=200_000, restart=restart, seed=seed, walkers=walkers)
    found = dense(walked(graph, [query], rule), 0, graph.forth.nodes) / rule.steps
    exact = pagerank(edges, query, restart)
    assert not found[exact < 1e-12].any()
    assert np.abs(found - exact).sum() < 0.03
    reached = exact > 1e-12
    if reached.sum() > 5:
        assert spearmanr(found[reached], exact[reached]).statistic >= 0.9


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(2, 6))
def test_scores_rank_posts_as_boosted_pagerank_does(seed: int, count: int) -> None:
    edges = random_edges(seed)
    rng, graph = np.random.default_rng(seed), graph_of(edges)
    queries = rng.choice(np.unique(edges[0]), count, replace=False).tolist()
    weights = rng.uniform(0.2, 2, count)
    visited = walk_from(graph, queries, weights, Rule(steps=300_000, seed=seed))
    posts, scores = best_of(visited, NOTHING, 1_000)
    exact = sum(
        np.sqrt(budget * pagerank(edges, query, 0.5))
        for query, budget in zip(queries, visited.budgets, strict=True)
    )
    exact = np.square(exact)
    np.testing.assert_allclose(scores[:5], exact[posts[:5]], rtol=0.05)
    assert spearmanr(scores, exact[posts]).statistic >= 0.9


@given(seeds, st.integers(1, 50), st.integers(1, 10_000))
def test_steps_are_shared_out_by_weight_and_degree(seed: int, count: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    degrees, weights = rng.integers(1, 1_000, count), rng.uniform(0.1, 1, count)
    shares = weights * degrees * (1 + math.log(1_000) - np.log(degrees))
    budgets = steps_of(degrees, weights, steps, 1_000)
    assert budgets.sum() == steps
    assert (np.abs(budgets - steps * shares / shares.sum()) <= 1).all()
    of_degrees = steps_of(np.arange(1, 1_001), np.ones(1_000), 10**9, 1_000)
    assert (np.diff(of_degrees) >= -1).all()


def test_nothing_is_walked_from_posts_without_weight_or_readers() -> None:
    graph = graph_of(random_edges(1))
    for queries, weights in (([], []), ([0, 1], [0.0, 0.0]), ([10**6], [1.0]), ([-1], [1.0])):
        visited = walk_from(graph, queries, np.array(weights, np.float64), Rule())
        assert not visited.taken.sum()
        assert not len(best_of(visited, NOTHING, 10)[0])


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 30), st.integers(1, 6), st.integers(1, 4_000))
def test_a_walk_that_ends_early_has_enough_and_is_a_beginning_of_the_whole(
    seed: int, enough_posts: int, enough_visits: int, steps: int
) -> None:
    edges = random_edges(seed)
    graph = graph_of(edges)
    queries = np.unique(edges[0])[:3].tolist()
    whole = walked(graph, queries, Rule(steps=steps, seed=seed))
    rule = Rule(steps=steps, seed=seed, enough_posts=enough_posts, enough_visits=enough_visits)
    early = walked(graph, queries, rule)
    assert early.taken.sum() <= steps
    assert early.budgets.tolist() == whole.budgets.tolist() == whole.taken.tolist()
    for query, budget in enumerate(early.budgets.tolist()):
        visits, all_visits = visits_of(early, query), visits_of(whole, query)
        assert sum(visits.values()) == early.taken[query]
        assert list(all_visits)[: len(visits)] == list(visits)
        assert all(count <= all_visits[post] for post, count in visits.items())
        enough = sum(count >= enough_visits for count in visits.values())
        needed = math.ceil(enough_posts * budget / steps)
        assert enough <= needed
        assert early.taken[query] == budget or enough == needed


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 12))
def test_any_number_of_threads_gives_the_same(seed: int, count: int) -> None:
    edges = random_edges(seed, posts=60)
    graph, queries = graph_of(edges), np.unique(edges[0])[:count].tolist()
    weights = np.random.default_rng(seed).uniform(0, 1, count)[: len(queries)]
    rule = Rule(steps=3_000, seed=seed, enough_posts=100)
    alone = walk_from(graph, queries, weights, rule)
    with ThreadPoolExecutor(3) as pool:
        for threads in (2, 3, 5):
            shared = walk_from(graph, queries, weights, rule, pool, threads)
            for query in range(len(queries)):
                assert list(visits_of(shared, query).items()) == list(visits_of(alone, query).items())
            for one, other in zip(best_of(shared, NOTHING, 20), best_of(alone, NOTHING, 20), strict=True):
                np.testing.assert_array_equal(one, other)


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 40), st.integers(0, 10))
def test_the_best_are_those_of_the_highest_boosted_sums(seed: int, limit: int, left_out: int) -> None:
    edges = random_edges(seed)
    queries = np.unique(edges[0])[:4].tolist()
    visited = walked(graph_of(edges), queries, Rule(steps=500, seed=seed))
    sums: dict[int, float] = {}
    for query in range(len(queries)):
        for post, visits in visits_of(visited, query).items():
            sums[post] = sums.get(post, 0.0) + math.sqrt(visits)
    exclude = np.random.default_rng(seed).permutation(30)[:left_out]
    expected = {post: np.float32(value**2) for post, value in sums.items() if post not in exclude}
    order = sorted(expected, key=lambda post: (-expected[post], post))[:limit]
    posts, scores = best_of(visited, exclude.astype(np.uint32), limit)
    np.testing.assert_allclose(scores, [expected[post] for post in order], rtol=1e-6)
    assert set(posts.tolist()).isdisjoint(exclude.tolist())
    assert posts.tolist() == order or scores == pytest.approx([expected[post] for post in posts.tolist()])


def test_seeds_give_walks_of_their_own() -> None:
    graph = graph_of(random_edges(3))
    one, same, other = (
        walked(graph, [int(graph.back.targets[0])], Rule(steps=200, seed=seed)) for seed in (1, 1, 2)
    )
    assert visits_of(one, 0) == visits_of(same, 0) != visits_of(other, 0)
