"""Random walks as they are served: memory, milliseconds a request, and what ending early keeps.

    python -m benchmarks.pixie [--edges 100000000] [--steps 100000] [--requests 200] [--threads 2]

The graph is made up (benchmarks/power_law_graph.py), written as a run's files and mapped. A request is what
the recommender asks: the readings of a reader who has 20 and more, 50 at most, of falling weight; the 100
best posts come back by their ids. Settings that are compared take turns, request by request. What ending
early keeps is measured on a graph with communities of a tenth of the edges, and on the demo's films, too.
Writes benchmarks/results/pixie.csv.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures import Row
from benchmarks.power_law_graph import make
from benchmarks.results_file import load_average, put_rows
from nearfeed_core.pixie.building import Stored, build
from nearfeed_core.pixie.csr import Numbers
from nearfeed_core.pixie.files import load, save
from nearfeed_core.pixie.ids import hashes_of, name_of
from nearfeed_core.pixie.live import LiveGraph
from nearfeed_core.pixie.requests import WALKERS, Graph, Rule, best_of, walk_from
from nearfeed_recommender.models.walk_graph import WalkGraph
from nearfeed_standalone.demo.films import load_ratings

RESULTS = Path(__file__).parent / "results" / "pixie.csv"
KEPT = 100
LEAST_READINGS, MOST_READINGS = 20, 50
HALF_LIFE_READINGS = 25
LATE_EDGES = 100_000
ENOUGH_VISITS = 4
EARLY_SHARE = 1 / 3

T = TypeVar("T")


class Request(NamedTuple):
    """Readings as the recommender asks with them, and the same by the numbers of the graph."""

    readings: list[tuple[str, float]]
    posts: Numbers
    weights: NDArray[np.float64]


class Top(NamedTuple):
    """The best posts of a request, and the steps that it took."""

    posts: frozenset[int]
    taken: int


Ask = Callable[[Request], object]
Clock = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--edges", type=int, default=100_000_000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    rows = []
    for measure, value, unit in measured(given.edges, given.steps, given.requests, given.threads):
        sys.stdout.write(f"{measure}: {value:.4g} {unit}\n")
        sys.stdout.flush()
        rows.append(
            {
                "edges": str(given.edges),
                "steps": str(given.steps),
                "threads": str(given.threads),
                "measure": measure,
                "value": f"{value:.0f}" if value >= 1_000 else f"{value:.4g}",
                "unit": unit,
            }
        )
    key = itemgetter("edges", "steps", "threads", "measure")
    put_rows(RESULTS, rows, of=key, machine=load_average())


def measured(edges: int, steps: int, requests: int, threads: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        seconds, _ = timed(lambda: save(made_up(edges), folder))
        yield "make, build and write", seconds, "s"
        seconds, stored = timed(lambda: load(Path(folder)))
        yield "map and check", seconds, "s"
        yield from sizes(stored, Path(folder))
        asked = requests_of(stored, requests)
        core = LiveGraph(stored.forth, stored.back).graph
        yield from walkers(core, asked, steps)
        graph = WalkGraph(stored, threads=threads, compacted_at=1)
        yield from latencies(stored, graph, asked, steps)
        yield from ended_early("early stop", core, asked, steps)
        one = [Request(*(part[:1] for part in request)) for request in asked]
        yield from ended_early("early stop from one reading", core, one, steps)
        others = {"in communities": made_up(edges // 10, communities=True), "on films": of_films()}
        for name, other in others.items():
            of_other = LiveGraph(other.forth, other.back).graph
            yield from ended_early(f"early stop {name}", of_other, requests_of(other, requests), steps)
        yield from with_late_edges(graph, stored, asked, steps)
        graph.close()


def made_up(edges: int, *, communities: bool = False) -> Stored:
    made = make(edges, communities=communities)
    ids = [f"p{number}" for number in range(made.n_posts)]
    readers = hashes_of(f"r{number}" for number in range(made.n_readers))
    return build(made.posts, made.readers, ids, readers)


def of_films() -> Stored:
    ratings = load_ratings()
    films, readers = (
        np.unique(ratings[name].to_numpy(), return_inverse=True) for name in ("movieId", "userId")
    )
    ids, hashes = map(str, films[0].tolist()), hashes_of(map(str, readers[0].tolist()))
    return build(films[1].astype(np.uint32), readers[1].astype(np.uint32), list(ids), hashes)


def sizes(stored: Stored, folder: Path) -> Iterator[Row]:
    edges = len(stored.forth.targets)
    held = sum(array.nbytes for side in (stored.forth, stored.back) for array in side)
    yield "posts", stored.forth.nodes, ""
    yield "readers", stored.back.nodes, ""
    yield "bytes an edge and direction, offsets included", held / edges / 2, "B"
    yield "files, ids included", sum(file.stat().st_size for file in folder.iterdir()) / 2**20, "MiB"


def requests_of(stored: Stored, count: int) -> list[Request]:
    rng, starts = np.random.default_rng(1), stored.back.starts.astype(np.int64)
    reading_much = np.flatnonzero(np.diff(starts) >= LEAST_READINGS)
    asked = []
    for reader in rng.choice(reading_much, count):
        posts = rng.permutation(stored.back.targets[starts[reader] : starts[reader + 1]])[:MOST_READINGS]
        weights = 2.0 ** (-np.arange(len(posts)) / HALF_LIFE_READINGS)
        ids = [name_of(stored.names, post) for post in posts.tolist()]
        asked.append(Request(list(zip(ids, weights.tolist(), strict=True)), posts, weights))
    return asked


def walkers(graph: Graph, asked: Sequence[Request], steps: int) -> Iterator[Row]:
    """Walks and counting alone, on one thread, without ids and the choice of the best."""

    def walk(walkers: int) -> Ask:
        rule = Rule(steps=steps, walkers=walkers)
        return lambda request: walk_from(graph, request.posts.tolist(), request.weights, rule)

    one, many = times(asked, walk(1), walk(WALKERS))
    yield "walks and counting: one walker at a time, p50", median(one), "ms"
    yield f"walks and counting: {WALKERS} walkers in lockstep, p50", median(many), "ms"
    yield "walks and counting: one at a time / in lockstep", median(one) / median(many), ""


def latencies(stored: Stored, graph: WalkGraph, asked: Sequence[Request], steps: int) -> Iterator[Row]:
    alone = WalkGraph(stored, threads=1)
    first = [Request(*(part[:1] for part in request)) for request in asked]
    of_one, of_all = times(asked, asking(alone, steps), asking(graph, steps))
    (of_post,) = times(first, asking(graph, steps))
    (of_core,) = times(asked, asking(alone, steps), clock=time.thread_time)
    alone.close()
    yield "request: p50", median(of_all), "ms"
    yield "request: p95", float(np.percentile(of_all, 95)), "ms"
    yield "request: fastest", min(of_all), "ms"
    yield "request on one thread: p50", median(of_one), "ms"
    yield "request on one thread: processor time, p50", median(of_core), "ms"
    yield "request of one reading: p50", median(of_post), "ms"


def ended_early(name: str, graph: Graph, asked: Sequence[Request], steps: int) -> Iterator[Row]:
    """n_p is found on a fifth of the requests, the rest is measured."""
    found_on, measured_on = asked[: len(asked) // 5], asked[len(asked) // 5 :]
    enough = enough_posts(graph, found_on, steps)
    whole = [top(graph, request, Rule(steps)) for request in measured_on]
    early = [top(graph, request, early_rule(steps, enough)) for request in measured_on]
    other = [top(graph, request, Rule(steps, seed=1)) for request in measured_on]
    yield f"{name}: n_v", ENOUGH_VISITS, "visits"
    yield f"{name}: n_p", enough, "posts"
    yield f"{name}: share of the steps", share_of_steps(early, steps), ""
    yield f"{name}: share of the top {KEPT} kept", shared(early, whole), ""
    yield f"{name}: share of the top {KEPT} that whole walks of two seeds share", shared(other, whole), ""


def with_late_edges(graph: WalkGraph, stored: Stored, asked: Sequence[Request], steps: int) -> Iterator[Row]:
    rng = np.random.default_rng(3)
    posts = [name_of(stored.names, post) for post in rng.choice(stored.back.targets, LATE_EDGES).tolist()]
    edges = [(f"r{rng.integers(stored.back.nodes)}", post) for post in posts]
    seconds, _ = timed(lambda: graph.add(edges))
    yield f"add {LATE_EDGES} edges at once", seconds, "s"
    (late,) = times(asked, asking(graph, steps))
    yield f"request beside {LATE_EDGES} added edges: p50", median(late), "ms"
    seconds, done = timed(graph.compact_if_due)
    assert done
    yield "merge them into the graph", seconds, "s"
    (after,) = times(asked, asking(graph, steps))
    yield "request after merging: p50", median(after), "ms"


def asking(graph: WalkGraph, steps: int) -> Ask:
    return lambda request: list(graph.recommend(request.readings, limit=KEPT, steps=steps))


def early_rule(steps: int, enough: int) -> Rule:
    return Rule(steps, enough_posts=enough, enough_visits=ENOUGH_VISITS)


def top(graph: Graph, request: Request, rule: Rule) -> Top:
    visited = walk_from(graph, request.posts.tolist(), request.weights, rule)
    posts, _ = best_of(visited, np.unique(request.posts), KEPT)
    return Top(frozenset(posts.tolist()), int(visited.taken.sum()))


def enough_posts(graph: Graph, asked: Sequence[Request], steps: int) -> int:
    """The n_p with which these requests take the share of their steps, by bisection."""
    low, high = 1, steps
    while high - low > 1:
        middle = (low + high) // 2
        tops = [top(graph, request, early_rule(steps, middle)) for request in asked]
        low, high = (middle, high) if share_of_steps(tops, steps) < EARLY_SHARE else (low, middle)
    return low


def share_of_steps(tops: Sequence[Top], steps: int) -> float:
    return float(np.mean([found.taken for found in tops]) / steps)


def shared(some: Sequence[Top], others: Sequence[Top]) -> float:
    """The mean share of the others' posts that are in some's."""
    return float(np.mean([len(a.posts & b.posts) / len(b.posts) for a, b in zip(some, others, strict=True)]))


def times(asked: Sequence[Request], *ways: Ask, clock: Clock = time.perf_counter) -> list[list[float]]:
    """Milliseconds of each request in each way, which take turns; the first requests once before."""
    for request in asked[:5]:
        for ask in ways:
            ask(request)
    taken: list[list[float]] = [[] for _ in ways]
    for request in asked:
        for of_way, ask in zip(taken, ways, strict=True):
            of_way.append(1e3 * timed(partial(ask, request), clock)[0])
    return taken


def timed(work: Callable[[], T], clock: Clock = time.perf_counter) -> tuple[float, T]:
    started = clock()
    result = work()
    return clock() - started, result


if __name__ == "__main__":
    main()
