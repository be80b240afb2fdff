"""Recall, latency and memory of filtered searches on the servers of `make servers` and on Milvus Lite.

    python -m benchmarks.filtered_search [--posts 50000 500000] [--stores milvus opensearch milvus-lite]

Rows of benchmarks/results/filtered_search.csv for other stores and sizes are kept.
"""

import argparse
import csv
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import description
from nearfeed_backends.opening import open_store
from nearfeed_contracts.vector_store import Filter, StoredVector, VectorStore

RESULTS = Path(__file__).parent / "results" / "filtered_search.csv"
CACHE = Path(os.environ.get("NEARFEED_CACHE", Path.home() / ".cache" / "nearfeed"))
DIM = 128
K = 20
SHARES = (100, 50, 10, 4, 2, 0.1)
LITE_POSTS = 50_000
BATCH = 5_000
SPACE = "benchmark filtered search"
Vectors = np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--posts", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--stores", nargs="+", default=["milvus", "opensearch", "milvus-lite"])
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--settle", type=int, default=300, help="seconds that a server may build its graph")
    arguments = parser.parse_args()
    for posts in arguments.posts:
        for name in arguments.stores:
            if name != "milvus-lite" or posts <= LITE_POSTS:
                keep(list(measured(name, posts, arguments.searches, arguments.settle)))


def measured(name: str, posts: int, searches: int, settle: int) -> Iterator[dict[str, Any]]:
    """One row for each share of posts that match."""
    vectors, ranks = clustered(posts, DIM), np.random.default_rng(1).permutation(posts)
    questions = near(vectors, searches)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(url(name, folder))
        loading = load(store, vectors, ranks)
        building = wait_until_steady(store, questions, settle)
        for share in SHARES:
            row = {"store": name, "posts": posts, "dim": DIM, "matching_percent": share}
            row |= searched(store, vectors, ranks, questions, round(posts * share / 100))
            row |= {"load_s": round(loading), "settle_s": round(building), "memory_mib": memory(name)}
            print(row, flush=True)
            yield row
        store.drop_space(SPACE)
        store.close()


def url(name: str, folder: str) -> str:
    """Where `make servers` put it."""
    ports = {"milvus": ("NEARFEED_MILVUS_PORT", "19530"), "opensearch": ("NEARFEED_OPENSEARCH_PORT", "19200")}
    if name == "milvus-lite":
        return f"milvus-lite://{folder}/vectors.db"
    return f"{name}://127.0.0.1:{os.environ.get(*ports[name])}?timeout=60"


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


def load(store: VectorStore, vectors: Vectors, ranks: Vectors) -> float:
    """Seconds to write all posts and see them; `published_at` is a random rank, which filters by share."""
    started = time.perf_counter()
    store.drop_space(SPACE)
    store.create_space(SPACE, vectors.shape[1])
    for start in range(0, len(vectors), BATCH):
        numbers = range(start, min(start + BATCH, len(vectors)))
        store.upsert(
            SPACE,
            [
                StoredVector(str(n), f"c{n % 100}", f"a{n % 5_000}", int(ranks[n]), vectors[n])
                for n in numbers
            ],
        )
    store.flush(SPACE)
    return time.perf_counter() - started


def wait_until_steady(store: VectorStore, questions: Vectors, limit: int) -> float:
    """Seconds until three rounds of searches over all posts take the same time within a quarter."""
    started, rounds = time.perf_counter(), []
    while time.perf_counter() - started < limit:
        begun = time.perf_counter()
        for question in questions[:30]:
            store.search(SPACE, question, K, Filter(published_after=0))
        rounds.append(time.perf_counter() - begun)
        if len(rounds) >= 3 and max(rounds[-3:]) < 1.25 * min(rounds):
            break
        time.sleep(10)
    return time.perf_counter() - started


def searched(
    store: VectorStore, vectors: Vectors, ranks: Vectors, questions: Vectors, matching: int
) -> dict[str, float]:
    """Recall@20 against all inner products, and milliseconds."""
    oldest = len(ranks) - matching
    numbers = np.flatnonzero(ranks >= oldest)
    scores = questions @ vectors[numbers].T
    recalls, seconds = [], []
    for question, row in zip(questions, scores, strict=True):
        best = set(numbers[np.argpartition(-row, K - 1)[:K]].tolist())
        begun = time.perf_counter()
        hits = store.search(SPACE, question, K, Filter(published_after=oldest))
        seconds.append(time.perf_counter() - begun)
        recalls.append(len({int(hit.item_id) for hit in hits} & best) / K)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1_000
    return {
        "recall_at_20": round(float(np.mean(recalls)), 4),
        "p50_ms": round(p50, 1),
        "p95_ms": round(p95, 1),
    }


def memory(name: str) -> int:
    """MiB that the server holds; of Milvus Lite, the most that this process has held."""
    if name == "milvus-lite":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pid = (CACHE / name / f"{name}.pid").read_text().strip()
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) // 1024


def keep(rows: list[dict[str, Any]]) -> None:
    """Replaces the rows of the same store and number of posts."""
    machine = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **description()}
    machine["load_average"] = f"{os.getloadavg()[1]:.1f}"
    measured_now = {(row["store"], str(row["posts"])) for row in rows}
    RESULTS.parent.mkdir(exist_ok=True)
    old = list(csv.DictReader(RESULTS.open())) if RESULTS.exists() else []
    kept = [row for row in old if (row["store"], row["posts"]) not in measured_now]
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *machine])
        writer.writeheader()
        writer.writerows(kept + [{**row, **machine} for row in rows])
    sys.stdout.write(f"Written: {RESULTS}\n")


if __name__ == "__main__":
    main()
