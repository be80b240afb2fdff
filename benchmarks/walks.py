"""Walk steps a second of dgl's sampler and of Nearfeed's, on the same graph with the same rule.

    python -m benchmarks.walks [--list FILE] [--readings 1000000] [--threads 2]

A step goes along one edge: from a post to a reader, or from a reader to a post. dgl is timed for its walks
alone; Nearfeed with the counting of visits and the choice of those that are kept, and once more for all that
lies between readings and neighbours.
A line of a list is a reader, then items, by numbers; without one the graph is made up, by power laws.
Writes benchmarks/results/walks.csv.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path

import dgl
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.results_file import load_average, put_rows
from nearfeed_core.walks import most_visited
from nearfeed_embedder.dataset import Readings, Rows, Weights
from nearfeed_embedder.graph.walks import WalkRule, importance_neighbours, reading_graph, transitions_of

RESULTS = Path(__file__).parent / "results" / "walks.csv"
REPEATS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--list", type=Path)
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dgl.utils.set_num_threads(given.threads)
    readings = listed(given.list) if given.list else made_up(given.readings)
    graph = f"{given.list.name if given.list else 'power laws'}: {len(readings)} readings"
    rows = []
    for name, rate, rate_of_core in samplers(readings, WalkRule()):
        row = {
            "graph": graph,
            "sampler": name,
            "threads": str(given.threads),
            **asdict(WalkRule()),
            "million_steps_a_second": f"{rate:.1f}",
            "million_steps_a_core_second": f"{rate_of_core:.1f}",
        }
        sys.stdout.write(f"{row}\n")
        rows.append(row)
    put_rows(RESULTS, rows, of=itemgetter("graph", "sampler", "threads"), machine=load_average())


def listed(file: Path) -> Readings:
    """Readings of weight 1."""
    lines = [np.array(line.split(), np.intp) for line in file.read_text().splitlines()]
    reader = np.repeat([line[0] for line in lines], [len(line) - 1 for line in lines])
    return readings_of(reader, np.concatenate([line[1:] for line in lines]), np.ones(len(reader)))


def made_up(count: int) -> Readings:
    """A tenth as many readers as readings, a twentieth as many posts; few of both have most of them."""
    rng = np.random.default_rng(0)
    reader = (count // 10 * rng.random(count) ** 2).astype(np.intp)
    item = (count // 20 * rng.random(count) ** 3).astype(np.intp)
    return readings_of(reader, item, rng.uniform(0.1, 5, count))


def readings_of(reader: Rows, item: Rows, weight: Weights) -> Readings:
    return Readings(reader, item, np.zeros(len(reader), np.int64), weight).sorted()


def samplers(readings: Readings, rule: WalkRule) -> Iterator[tuple[str, float, float]]:
    """Million steps a second, and a second of one core, by the fastest of some repeats."""
    n = int(readings.item.max()) + 1
    graph, posts = reading_graph(readings, n), np.unique(readings.item)
    steps = int((dgl_walks(graph, posts, rule)[:, 1:] >= 0).sum()) / 1e6
    forth, back = (transitions_of(graph, relation) for relation in ("read_by", "reads"))
    work: dict[str, Callable[[], object]] = {
        "dgl: walks": lambda: dgl_walks(graph, posts, rule),
        "nearfeed: walks, visits counted": lambda: most_visited(
            forth,
            back,
            posts,
            walks=rule.walks,
            hops=rule.hops,
            restart=rule.restart,
            kept=rule.neighbours,
            seed=0,
            threads=torch.get_num_threads(),
        ),
        "nearfeed: from readings to neighbours": lambda: importance_neighbours(readings, n, rule, 0),
    }
    for name, do in work.items():
        wall, cores = fastest(do)
        yield name, steps / wall, steps / cores


def dgl_walks(graph: dgl.DGLGraph, posts: Rows, rule: WalkRule) -> NDArray[np.int64]:
    """Traces (posts * walks, 2 * hops + 1): a post, a reader, a post and so on, -1 after the end."""
    restart = torch.tensor([0.0, 0.0] + [rule.restart, 0.0] * (rule.hops - 1))
    trace, _ = dgl.sampling.random_walk(
        graph,
        torch.from_numpy(posts.repeat(rule.walks)),
        metapath=["read_by", "reads"] * rule.hops,
        prob="weight",
        restart_prob=restart,
    )
    traces: NDArray[np.int64] = trace.numpy()
    return traces


def fastest(do: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall clock, and of all cores together; other processes can only make them longer."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter(), time.process_time()
        do()
        taken.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    wall, cores = (min(seconds) for seconds in zip(*taken, strict=True))
    return wall, cores


if __name__ == "__main__":
    main()
