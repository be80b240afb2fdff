"""Pages of three sections, each of five sources, at a steady rate: on the servers of `make servers`.

    python -m benchmarks.pages [--posts 50000] [--rates 10 15 20 25 30] [--seconds 60]

Every service is its own process, over MariaDB, Kafka and Milvus; all of them, and the clients, share the
machine. Pages are asked for at fixed times, whatever the answers take, and a page's time counts from the
moment at which it was due. Rates are tried in their order until one does not hold p99 under 100 ms.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.backends import port
from benchmarks.deployment import deployed
from benchmarks.filtered_search import clustered
from benchmarks.installation import Installation, fresh_installation
from benchmarks.results_file import load_average, put_rows
from nearfeed_contracts.runs import Block, Manifest, write_manifest, write_vectors

RESULTS = Path(__file__).parent / "results" / "pages.csv"
CONFIG = Path(__file__).parent / "pages.yaml"
DIM = 256
COMMUNITIES, AUTHORS = 100, 5_000
READERS, READINGS, JOINED = 2_000, 60, 10
GOAL_MS = 100
WARM_UP_SECONDS = 120  # until facts are kept, and Milvus has built the graph of what was just loaded
CLIENTS = 32
Row = tuple[str, float, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--posts", type=int, default=50_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 15, 20, 25, 30, 40])
    parser.add_argument("--seconds", type=float, default=60)
    choices = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nearfeed-bench-") as name:
        folder = Path(name)
        with fresh_installation(
            folder,
            vectors_url=f"milvus://127.0.0.1:{port('milvus')}",
            log_url=f"kafka://127.0.0.1:{port('kafka')}?partitions=4",
            database_port=port("mariadb"),
            runs_url=(folder / "runs").as_uri(),
        ) as installation:
            prepare(installation, folder, choices.posts)
            with deployed(installation) as client:
                installation.run("nearfeed-indexer", "load", "synthetic", "--activate")
                installation.run(
                    "nearfeed-recommender", "config", "apply", str(CONFIG), "--reason", "a benchmark"
                )
                wait_until_whole(client)
                keep(choices.posts, list(measured(client, choices.rates, choices.seconds)))


def prepare(installation: Installation, folder: Path, posts: int) -> None:
    """Posts, readers and what they read; a run of vectors, and the models that are trained on them."""
    vectors = clustered(posts, DIM)
    for kind, table in tables(vectors).items():
        path = folder / f"{kind}.parquet"
        table.write_parquet(path)
        installation.run("nearfeed", "import", kind, str(path))
    url = f"{installation.runs_url}/synthetic"
    write_vectors(url, [str(number) for number in range(posts)], vectors)
    block = Block(start=0, dim=DIM, pooling="mean")
    write_manifest(
        url,
        Manifest(
            space="synthetic", model="synthetic", dim=DIM, blocks=(block,), created_at=datetime.now(UTC)
        ),
    )
    for model in ("item-knn", "random-walk"):
        installation.run("nearfeed-embedder", "train", "--model", model, "--force")


def tables(vectors: np.ndarray) -> dict[str, pl.DataFrame]:
    """Readers read around a post, mostly in the communities that they joined."""
    generator = np.random.default_rng(3)
    posts = len(vectors)
    now = datetime.now(UTC)
    published = [now - timedelta(minutes=float(m)) for m in generator.uniform(0, 60 * 24 * 90, posts)]
    items = pl.DataFrame(
        {
            "item_id": [str(number) for number in range(posts)],
            "community_id": [f"c{number % COMMUNITIES}" for number in range(posts)],
            "author_id": [f"a{number % AUTHORS}" for number in range(posts)],
            "title": [f"Post {number}" for number in range(posts)],
            "tags": [[f"t{number % 40}"] for number in range(posts)],
            "published_at": published,
        }
    )
    readings, memberships = [], []
    for reader in range(READERS):
        near = np.argsort(-(vectors[:: max(1, posts // 5_000)] @ vectors[generator.integers(posts)]))[
            : 4 * READINGS
        ]
        for place in generator.choice(near, READINGS, replace=False):
            at = now - timedelta(minutes=float(generator.uniform(0, 60 * 24 * 30)))
            readings.append((f"r{reader}", str(place * max(1, posts // 5_000)), "read", at))
        joined = generator.choice(COMMUNITIES, JOINED, replace=False)
        memberships += [(f"r{reader}", f"c{community}", now) for community in joined]
    return {
        "items": items,
        "interactions": pl.DataFrame(readings, ["user_id", "item_id", "kind", "occurred_at"], orient="row"),
        "memberships": pl.DataFrame(memberships, ["user_id", "community_id", "joined_at"], orient="row"),
    }


def wait_until_whole(client: httpx.Client, seconds: float = 60, user: str = "r0") -> None:
    """Until a page does without nothing: configuration and models are loaded."""
    give_up = time.monotonic() + seconds
    failures: Any = "no answer"
    while time.monotonic() < give_up:
        answer = client.get("/v1/pages/bench", params={"user_id": user})
        if answer.status_code == httpx.codes.OK:
            failures = [section["failures"] for section in answer.json()["sections"]]
            if not any(failures):
                return
        time.sleep(0.5)
    raise RuntimeError(f"the page is not whole: {failures}")


def measured(client: httpx.Client, rates: list[float], seconds: float) -> Iterator[Row]:
    """Each rate until one does not hold, then what the steps cost."""
    at_rate(client, rates[0], WARM_UP_SECONDS)
    highest = 0.0
    for rate in rates:
        pages = at_rate(client, rate, seconds)
        milliseconds = [page["ms"] for page in pages]
        for percent in (50, 95, 99):
            yield told(f"{rate:g} pages/s: p{percent}", float(np.percentile(milliseconds, percent)), "ms")
        yield told(f"{rate:g} pages/s: degraded", 100 * float(np.mean([p["degraded"] for p in pages])), "%")
        yield told(f"{rate:g} pages/s: posts a page", float(np.mean([p["posts"] for p in pages])), "posts")
        if np.percentile(milliseconds, 99) > GOAL_MS:
            break
        highest = rate
    yield told(f"highest rate with p99 under {GOAL_MS} ms", highest, "pages/s")
    yield from costs(client)


def at_rate(client: httpx.Client, rate: float, seconds: float) -> list[dict[str, Any]]:
    """Asks for pages of readers in turn at fixed times."""
    base = str(client.base_url)
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    with httpx.Client(base_url=base, timeout=30, limits=limits) as pages, ThreadPoolExecutor(CLIENTS) as pool:
        started = time.perf_counter()

        def ask(number: int) -> dict[str, Any]:
            due = started + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            answer = pages.get("/v1/pages/bench", params={"user_id": f"r{number % READERS}"})
            took = time.perf_counter() - due
            sections = json.loads(answer.raise_for_status().content)["sections"]
            return {
                "ms": 1_000 * took,
                "degraded": any(section["degraded"] for section in sections),
                "posts": sum(len(section["items"]) for section in sections),
            }

        return list(pool.map(ask, range(round(rate * seconds))))


def costs(client: httpx.Client) -> Iterator[Row]:
    """The mean time of each source and step, from /metrics."""
    sums: dict[tuple[str, str], dict[str, float]] = {}
    text = client.get("/metrics").text
    for family in text_string_to_metric_families(text):
        if family.name not in ("nearfeed_source_seconds", "nearfeed_step_seconds"):
            continue
        for sample in family.samples:
            part = sample.name.removeprefix(family.name + "_")
            key = (family.name, sample.labels.get("type") or sample.labels["step"])
            if part in ("sum", "count"):
                sums.setdefault(key, {}).setdefault(part, 0.0)
                sums[key][part] += sample.value
    for (family, name), totals in sorted(sums.items()):
        kind = "source" if "source" in family else "step"
        yield told(f"{kind} {name}: mean", 1_000 * totals["sum"] / totals["count"], "ms")


def told(measure: str, value: float, unit: str) -> Row:
    sys.stdout.write(f"{measure:<45} {value:>10.2f} {unit}\n")
    sys.stdout.flush()
    return measure, value, unit


def keep(posts: int, rows: list[Row]) -> None:
    named = [{"posts": posts, "measure": m, "value": f"{value:.4g}", "unit": unit} for m, value, unit in rows]
    put_rows(RESULTS, named, of=lambda row: int(row["posts"]), machine=load_average())


if __name__ == "__main__":
    main()
