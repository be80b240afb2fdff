"""Feeds on embedded back ends, on Milvus and on OpenSearch: one run, the same data, one machine.

    python -m benchmarks.backends [--run DIR] [--stores embedded milvus opensearch]

Without --run one is trained first. MariaDB, Kafka and the vector servers are those of `make servers`.
Rows of benchmarks/results/backends.csv for other stores are kept.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import httpx
import polars as pl

from benchmarks.deployment import deployed
from benchmarks.installation import fresh_installation
from benchmarks.measures import Row, event_to_feed, feed_latency, first_post, post_to_feed
from benchmarks.outage import outages
from benchmarks.results_file import load_average, put_rows
from benchmarks.server import nearfeed, served
from nearfeed_standalone.demo.files import films_in

RESULTS = Path(__file__).parent / "results" / "backends.csv"
VERSIONS = Path(__file__).parents[1] / "tools" / "servers" / "versions.env"
PORTS = {"milvus": 19530, "opensearch": 19200, "kafka": 19092, "mariadb": 13306}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a run of the demo's films")
    parser.add_argument("--stores", nargs="+", default=["embedded", "milvus", "opensearch"])
    parser.add_argument("--requests", type=int, default=300, help="feeds that are asked for")
    parser.add_argument("--times", type=int, default=20, help="likes, and posts, that are waited for")
    parser.add_argument("--readers", type=int, default=1_000, help="readers up to this number are imported")
    choices = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nearfeed-bench-") as name:
        folder = Path(name)
        files = films_of(folder, choices.readers)
        run = choices.run or trained(folder, files)
        for store in choices.stores:
            measure = embedded if store == "embedded" else on_servers
            rows = []
            for row in measure(store, folder, files, run.absolute(), choices):
                sys.stdout.write(f"{store:<12} {row[0]:<45} {row[1]:>12.2f} {row[2]}\n")
                sys.stdout.flush()
                rows.append(row)
            keep(store, rows)


def films_of(folder: Path, readers: int) -> dict[str, Path]:
    """The demo's files, with the readers up to a number."""
    files = films_in(folder / "films")
    for kind in ("interactions", "memberships"):
        rows = pl.read_parquet(files[kind])
        rows.filter(pl.col("user_id").cast(pl.Int64) <= readers).write_parquet(files[kind])
    return files


def trained(folder: Path, files: dict[str, Path]) -> Path:
    """A run that is trained as a user does."""
    data_dir = folder / "trained"
    for kind, path in files.items():
        command(data_dir, "import", kind, str(path))
    command(data_dir, "train")
    (run,) = (data_dir / "runs").iterdir()
    return run


def embedded(
    store: str, folder: Path, files: dict[str, Path], run: Path, choices: argparse.Namespace
) -> Iterator[Row]:
    """All services in one process."""
    data_dir = folder / store
    for kind, path in files.items():
        command(data_dir, "import", kind, str(path))
    command(data_dir, "load", str(run), "--activate")
    with served(data_dir) as client:
        yield from measured(client, choices)


def on_servers(
    store: str, folder: Path, files: dict[str, Path], run: Path, choices: argparse.Namespace
) -> Iterator[Row]:
    """Every service its own process."""
    with fresh_installation(
        folder / store,
        vectors_url=f"{store}://127.0.0.1:{port(store)}",
        log_url=f"kafka://127.0.0.1:{port('kafka')}?partitions=4",
        database_port=port("mariadb"),
        runs_url=run.parent.as_uri(),
    ) as installation:
        for kind, path in files.items():
            installation.run("nearfeed", "import", kind, str(path))
        with deployed(installation) as client:
            installation.run("nearfeed-indexer", "load", str(run), "--activate")
            yield from measured(client, choices)
            yield from outages(installation, choices.times)


def measured(client: httpx.Client, choices: argparse.Namespace) -> Iterator[Row]:
    """The figures that every store has. The first post waits until the embedder has opened the run."""
    first_post(client)
    yield from feed_latency(client, choices.requests)
    yield from event_to_feed(client, choices.times)
    yield from post_to_feed(client, choices.times)


def port(server: str) -> int:
    """Where `make servers` put it."""
    return int(os.environ.get(f"NEARFEED_{server.upper()}_PORT", PORTS[server]))


def command(data_dir: Path, *arguments: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(nearfeed("--data-dir", str(data_dir), *arguments), check=True, stdout=subprocess.DEVNULL)


def keep(store: str, rows: list[Row]) -> None:
    """Replaces the rows of a store."""
    servers = " ".join(line for line in VERSIONS.read_text().split("\n") if "VERSION" in line)
    named = [
        {"store": store, "measure": name, "value": f"{value:.4g}", "unit": unit} for name, value, unit in rows
    ]
    put_rows(RESULTS, named, of=itemgetter("store"), machine={"servers": servers, **load_average()})


if __name__ == "__main__":
    main()
