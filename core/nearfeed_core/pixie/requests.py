"""What walks from several posts together visit most: steps shared out, visits merged, the best chosen."""

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.pixie.csr import Numbers, Side, degrees_of
from nearfeed_core.pixie.walking import place_slot, place_table, walk
from nearfeed_core.splitmix import compiled

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
WALKERS = 32
_LOW = np.uint64(2**32 - 1)
_NEVER = 2**62


@dataclass(frozen=True)
class Rule:
    """How a request is walked; `steps` is its budget, a step leads from a post to a reader to a post.

    Before a step a walker goes back to its query post with probability `restart`. A query post's
    walk ends early once its share of `enough_posts` (n_p in the paper) were visited `enough_visits`
    times (n_v); None: never. `walkers` go in lockstep; how many changes which random numbers are used.
    """

    steps: int = 100_000
    restart: float = 0.5
    enough_posts: int | None = None
    enough_visits: int = 4
    seed: int = 0
    walkers: int = WALKERS


class Graph(NamedTuple):
    """From posts to readers and back; `most` is the degree of the post that most have read."""

    forth: Side
    back: Side
    most: int


class Visits(NamedTuple):
    """What the walks of a request have visited, query post after query post.

    Those of query n are `posts[begins[n] : begins[n] + found[n]]` and the same of `visits`, in the order of
    the first visits. `budgets`, `taken` (queries) are the steps that it had and took.
    """

    posts: Numbers
    visits: Numbers
    begins: Counts
    found: Counts
    budgets: Counts
    taken: Counts


def steps_of(degrees: Counts, weights: Floats, steps: int, most: int) -> Counts:
    """How many of the steps each query post gets (queries); they sum to `steps` unless all weigh nothing.

    In proportion to weight * degree * (C - log(degree)), equations 1 and 2 of the paper. C is
    1 + log(most), the least with which a post of more readers never gets fewer steps.
    """
    shares = weights * degrees * (1 + math.log(max(most, 1)) - np.log(np.maximum(degrees, 1)))
    total = np.cumsum(shares)
    if not len(total) or not total[-1] > 0:
        return np.zeros(len(degrees), np.int64)
    budgets: Counts = np.diff(np.round(total * (steps / total[-1])), prepend=0).astype(np.int64)
    return budgets


def walk_from(
    graph: Graph,
    queries: Sequence[int],
    weights: Floats,
    rule: Rule,
    pool: Executor | None = None,
    threads: int = 1,
) -> Visits:
    """Walks from distinct posts, by their numbers, with weights (queries) of 0 and more.

    `threads` share the queries; the others than the caller's are the pool's. The result is the same
    with any number of them.
    """
    degrees = degrees_of(graph.forth, queries)
    budgets = steps_of(degrees, np.asarray(weights, np.float64), rule.steps, graph.most)
    begins = np.cumsum(budgets) - budgets
    room = int(budgets.sum())
    visited = Visits(
        np.empty(room, np.uint32),
        np.empty(room, np.uint32),
        begins,
        np.zeros(len(budgets), np.int64),
        budgets,
        np.zeros(len(budgets), np.int64),
    )
    shares = _balanced(budgets, threads if pool else 1)
    others = (
        [pool.submit(_walk_some, graph, queries, rule, visited, rows) for rows in shares[1:]] if pool else []
    )
    _walk_some(graph, queries, rule, visited, shares[0])
    for other in others:
        other.result()
    return visited


def best_of(visited: Visits, exclude: Numbers, limit: int) -> tuple[Numbers, NDArray[np.float32]]:
    """The posts of the highest scores (limit at most), best first, and these; none of `exclude` (distinct).

    A score is (sum over query posts of sqrt(visits))^2, equation 3 of the paper, which lifts what is
    visited from several. At equal scores the lower number comes first.
    """
    room = len(exclude) + int(visited.found.sum())
    posts, scores = np.empty(room, np.uint32), np.empty(room, np.float64)
    found = _merge(visited.posts, visited.visits, visited.begins, visited.found, exclude, posts, scores)
    posts, scores = posts[len(exclude) : found], scores[len(exclude) : found]
    # A positive float32 sorts as its bits do.
    keys = (np.square(scores).astype(np.float32).view(np.uint32).astype(np.uint64) << 32) | (_LOW - posts)
    if 0 < limit < len(keys):
        keys = np.partition(keys, len(keys) - limit)[len(keys) - limit :]
    keys = np.sort(keys)[::-1][:limit]
    return (_LOW - (keys & _LOW)).astype(np.uint32), (keys >> 32).astype(np.uint32).view(np.float32)


def _balanced(budgets: Counts, parts: int) -> list[list[int]]:
    """The rows that have a budget in parts of about equal sums: the largest first, each to the least part."""
    rows: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for row in np.argsort(-budgets, kind="stable").tolist():
        if budgets[row]:
            least = sums.index(min(sums))
            rows[least].append(row)
            sums[least] += int(budgets[row])
    return rows


def _walk_some(
    graph: Graph, queries: Sequence[int], rule: Rule, visited: Visits, rows: Sequence[int]
) -> None:
    restart, seed = np.uint64(round(rule.restart * 2**32)), np.uint64(rule.seed)
    for row in rows:
        budget, begin = int(visited.budgets[row]), int(visited.begins[row])
        enough = _NEVER
        if rule.enough_posts is not None:
            enough = math.ceil(rule.enough_posts * budget / rule.steps)
        visited.taken[row], visited.found[row] = walk(
            graph.forth,
            graph.back,
            np.uint64(queries[row]),
            budget,
            restart,
            seed,
            rule.walkers,
            enough,
            rule.enough_visits,
            visited.posts[begin : begin + budget],
            visited.visits[begin : begin + budget],
        )


@compiled("int64(uint32[::1], uint32[::1], int64[::1], int64[::1], uint32[::1], uint32[::1], float64[::1])")
def _merge(posts: Any, visits: Any, begins: Any, found: Any, first: Any, merged: Any, sums: Any) -> Any:
    """Sums of sqrt(visits) by post into `merged` and `sums`, which begin with the posts of `first`.

    Returns how many posts these are.
    """
    table = place_table(len(merged))
    count = 0
    for row in range(-1, len(begins)):
        begin, end = (0, len(first)) if row < 0 else (begins[row], begins[row] + found[row])
        for at in range(begin, end):
            post = first[at] if row < 0 else posts[at]
            slot = place_slot(np.uint64(post), table, merged)
            if table[slot] == 0:
                merged[count], sums[count] = post, 0.0
                count += 1
                table[slot] = count
            sums[table[slot] - 1] += 0.0 if row < 0 else np.sqrt(np.float64(visits[at]))
    return count
