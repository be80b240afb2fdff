"""Searches of a feed in the faiss store: best 500 of 256 dimensions under a reader's filters.

    python -m benchmarks.embedded_search [--posts 9000 50000 500000] [--searches 200]

Writes benchmarks/results/embedded_search.csv; rows of other sizes are kept.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.filtered_search import clustered, near
from benchmarks.results_file import load_average, put_rows
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import Filter, StoredVector, VectorStore

RESULTS = Path(__file__).parent / "results" / "embedded_search.csv"
DIM = 256
K = 500
BATCH = 2_000
COMMUNITIES = 300
SPACE = "searched"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--posts", type=int, nargs="+", default=[9_000, 50_000, 500_000])
    parser.add_argument("--searches", type=int, default=200)
    arguments = parser.parse_args()
    for posts in arguments.posts:
        with tempfile.TemporaryDirectory() as folder:
            rows = [{"posts": posts, "dim": DIM, "k": K, **row} for row in measured(posts, folder, arguments)]
        put_rows(RESULTS, rows, of=lambda row: (str(row["posts"]), row["filter"]), machine=load_average())


def measured(posts: int, folder: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each filter."""
    url = f"faiss://{folder}/vectors"
    vectors = clustered(posts, DIM)
    questions = near(vectors, arguments.searches)
    loading, opening = written(url, vectors), time.perf_counter()
    with closing(open_store(url)) as store:
        times = {"load_s": round(loading, 1), "open_s": round(time.perf_counter() - opening, 2)}
        for name, where in filters(posts).items():
            row = {"filter": name, **searched(store, questions, where), **times}
            sys.stdout.write(f"{posts} {row}\n")
            yield row


def written(url: str, vectors: np.ndarray) -> float:
    """Seconds to write all posts, in random communities of equal size."""
    communities = np.random.default_rng(3).integers(0, COMMUNITIES, len(vectors))
    started = time.perf_counter()
    with closing(open_store(url)) as store:
        store.create_space(SPACE, DIM)
        for start in range(0, len(vectors), BATCH):
            numbers = range(start, min(start + BATCH, len(vectors)))
            posts = [
                StoredVector(f"p{n}", f"c{communities[n]}", f"a{n % 5_000}", n, vectors[n]) for n in numbers
            ]
            store.upsert(SPACE, posts)
    return time.perf_counter() - started


def filters(posts: int) -> dict[str, Filter]:
    """What readers of a few and of all communities may be shown."""
    generator = np.random.default_rng(4)
    few, many = (
        frozenset(f"p{n}" for n in generator.choice(posts, min(size, posts // 5), replace=False))
        for size in (500, 50_000)
    )
    ten, all_ = (frozenset(f"c{n}" for n in range(size)) for size in (10, COMMUNITIES))
    own = frozenset({"a7"})
    return {
        "10 communities, 500 read": Filter(ten, None, few, own),
        "100 communities, 500 read": Filter(frozenset(f"c{n}" for n in range(100)), None, few, own),
        "300 communities, 50,000 read": Filter(all_, None, many, own),
        "500 read": Filter(None, None, few, own),
    }


def searched(store: VectorStore, questions: np.ndarray, where: Filter) -> dict[str, Any]:
    """Milliseconds of searches, of which the first translates the filter's sets."""
    seconds = []
    for question in questions:
        begun = time.perf_counter()
        store.search(SPACE, question, K, where)
        seconds.append(time.perf_counter() - begun)
    p50, p95 = np.percentile(seconds[1:], [50, 95]) * 1_000
    return {"first_ms": round(seconds[0] * 1_000, 2), "p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}


if __name__ == "__main__":
    main()
