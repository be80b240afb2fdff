"""Recall, latency and memory of filtered searches: servers of `make servers`, faiss and Milvus Lite.

    python -m benchmarks.filtered_search load [--posts 50000 500000]
        [--stores milvus opensearch milvus-lite faiss]
    python -m benchmarks.filtered_search search [--posts …] [--stores …]

The first loads the posts and waits for the graphs, which takes an hour and may be done on a busy machine;
the second searches them, which needs a quiet one. `drop` removes them. Memory is what the server held when
the posts had been loaded; smaller spaces are loaded first and stay.

Rows of benchmarks/results/filtered_search.csv for other stores and sizes are kept.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results_file import load_average, put_rows
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import Filter, StoredVector, VectorStore

RESULTS = Path(__file__).parent / "results" / "filtered_search.csv"
CACHE = Path(os.environ.get("NEARFEED_CACHE", Path.home() / ".cache" / "nearfeed"))
DIM = 128
K = 20
SHARES = (100, 50, 10, 4, 2, 0.1)
LITE_POSTS = 50_000
FOLDERS = {"milvus-lite": "vectors.db", "faiss": "vectors"}
BATCH = 5_000
LOADED = CACHE / "benchmark"
Vectors = np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("step", choices=["load", "search", "drop"])
    parser.add_argument("--posts", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--stores", nargs="+", default=["milvus", "opensearch", *FOLDERS])
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--settle", type=int, default=1800, help="seconds that a server may build its graph")
    arguments = parser.parse_args()
    LOADED.mkdir(parents=True, exist_ok=True)
    for posts in sorted(arguments.posts):
        for name in arguments.stores:
            if name == "milvus-lite" and posts > LITE_POSTS:
                continue
            with closing(open_store(url(name))) as store:
                if arguments.step == "load":
                    load(store, name, posts, arguments.settle)
                elif arguments.step == "search":
                    keep(list(searched(store, name, posts, arguments.searches)))
                else:
                    store.drop_space(space_of(posts))


def url(name: str) -> str:
    """Where `make servers` put it, in a namespace of its own."""
    ports = {"milvus": ("NEARFEED_MILVUS_PORT", "19530"), "opensearch": ("NEARFEED_OPENSEARCH_PORT", "19200")}
    if name in FOLDERS:
        return f"{name}://{LOADED}/{FOLDERS[name]}"
    return f"{name}://127.0.0.1:{os.environ.get(*ports[name])}?timeout=60&namespace=benchmark"


def space_of(posts: int) -> str:
    return f"filtered-search-{posts}"


def clustered(posts: int, dim: int) -> Vectors:
    """Unit vectors, (posts, dim), around a centre for each 500 of them, as topics make them."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(max(50, posts // 500), dim)).astype(np.float32)
    vectors = generator.normal(scale=0.6, size=(posts, dim)).astype(np.float32)
    vectors += centres[generator.integers(len(centres), size=posts)]
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def near(vectors: Vectors, number: int) -> Vectors:
    """Readers: averages of three posts, one of another topic."""
    generator = np.random.default_rng(2)
    chosen = vectors[generator.integers(len(vectors), size=number)]
    others = vectors[generator.integers(len(vectors), size=number)]
    noise = generator.normal(scale=0.02, size=chosen.shape)
    return np.asarray(chosen + 0.4 * others + noise, np.float32)


def ranks_of(posts: int) -> Vectors:
    """`published_at` of each post: a random rank, which filters by share."""
    return np.random.default_rng(1).permutation(posts)


def load(store: VectorStore, name: str, posts: int, settle: int) -> None:
    """Writes all posts, waits until they are seen and the graph is built, and notes what it took."""
    vectors, ranks, space = clustered(posts, DIM), ranks_of(posts), space_of(posts)
    started = time.perf_counter()
    store.drop_space(space)
    store.create_space(space, DIM)
    for start in range(0, posts, BATCH):
        numbers = range(start, min(start + BATCH, posts))
        store.upsert(
            space,
            [
                StoredVector(str(n), f"c{n % 100}", f"a{n % 5_000}", int(ranks[n]), vectors[n])
                for n in numbers
            ],
        )
    store.flush(space)
    loading = time.perf_counter() - started
    building = wait_until_steady(store, space, near(vectors, 30), settle)
    noted = {"load_s": round(loading), "settle_s": round(building), "memory_mib": memory(name)}
    (LOADED / f"{name}-{posts}.json").write_text(json.dumps(noted))
    sys.stdout.write(f"{name} {posts}: {noted}\n")


def wait_until_steady(store: VectorStore, space: str, questions: Vectors, limit: int) -> float:
    """Seconds until a search over all posts takes the same time, within a quarter, three times over."""
    started, rounds = time.perf_counter(), []
    while time.perf_counter() - started < limit:
        seconds = []
        for question in questions:
            begun = time.perf_counter()
            store.search(space, question, K, Filter(published_after=0))
            seconds.append(time.perf_counter() - begun)
        rounds.append(float(np.median(seconds)))
        if len(rounds) >= 3 and max(rounds[-3:]) < 1.25 * min(rounds):
            break
        time.sleep(10)
    return time.perf_counter() - started


def searched(store: VectorStore, name: str, posts: int, searches: int) -> Iterator[dict[str, Any]]:
    """One row for each share of posts that match."""
    noted = json.loads((LOADED / f"{name}-{posts}.json").read_text())
    vectors, ranks = clustered(posts, DIM), ranks_of(posts)
    questions = near(vectors, searches)
    for share in SHARES:
        oldest = posts - round(posts * share / 100)
        row = {"store": name, "posts": posts, "dim": DIM, "matching_percent": share}
        row |= measured(store, space_of(posts), vectors, np.flatnonzero(ranks >= oldest), questions, oldest)
        row |= noted
        sys.stdout.write(f"{row}\n")
        yield row


def measured(
    store: VectorStore, space: str, vectors: Vectors, matching: Vectors, questions: Vectors, oldest: int
) -> dict[str, float]:
    """Recall@20 against the inner products with all that match, and milliseconds."""
    scores = questions @ vectors[matching].T
    recalls, seconds = [], []
    for question, row in zip(questions, scores, strict=True):
        best = set(matching[np.argpartition(-row, K - 1)[:K]].tolist())
        begun = time.perf_counter()
        hits = store.search(space, question, K, Filter(published_after=oldest))
        seconds.append(time.perf_counter() - begun)
        recalls.append(len({int(hit.item_id) for hit in hits} & best) / K)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1_000
    return {
        "recall_at_20": round(float(np.mean(recalls)), 4),
        "p50_ms": round(p50, 2),
        "p95_ms": round(p95, 2),
    }


def memory(name: str) -> int:
    """MiB that the server holds; of a store in this process, the most that it has held."""
    if name in FOLDERS:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pid = (CACHE / name / f"{name}.pid").read_text().strip()
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) // 1024


def keep(rows: list[dict[str, Any]]) -> None:
    """Replaces the rows of the same store and number of posts."""
    put_rows(RESULTS, rows, of=lambda row: (row["store"], str(row["posts"])), machine=load_average())


if __name__ == "__main__":
    main()
