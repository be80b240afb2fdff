"""Rows a second of `nearfeed import edges|vertices`, by format and by the order of the rows.

    python -m benchmarks.bulk_load [--rows 1000000] [--server]

The whole command is timed, from its start in a process of its own to the last row on disk. Edges lead from a
tenth as many ids as there are rows; `sorted` files have them in order, as a model's lists do, `random` ones
in none, which is the worst for the tables' trees. A vertex has some properties. `--server`: into MariaDB
of `make servers`, instead of SQLite.
Writes benchmarks/results/bulk_load.csv.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from operator import itemgetter
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from benchmarks.installation import database
from benchmarks.results_file import load_average, put_rows
from benchmarks.server import nearfeed

RESULTS = Path(__file__).parent / "results" / "bulk_load.csv"
_MARIADB_PORT = 13306


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--server", action="store_true")
    given = parser.parse_args()
    port = int(os.environ.get("NEARFEED_MARIADB_PORT", _MARIADB_PORT))
    rows = []
    with tempfile.TemporaryDirectory(prefix="nearfeed-bulk-") as folder:
        for kind, order, file in files(Path(folder), given.rows):
            with database(port) if given.server else nullcontext() as url:
                seconds, cores = timed(kind, file, Path(folder) / f"data-{file.name}", url)
            row = {
                "kind": kind,
                "format": file.suffix,
                "order": order,
                "rows": str(given.rows),
                "database": "mariadb" if given.server else "sqlite",
                "rows_a_second": f"{given.rows / seconds:.0f}",
                "rows_a_core_second": f"{given.rows / cores:.0f}",
            }
            sys.stdout.write(f"{row}\n")
            rows.append(row)
            file.unlink()
    put_rows(
        RESULTS, rows, of=itemgetter("kind", "format", "order", "rows", "database"), machine=load_average()
    )


def files(folder: Path, count: int) -> Iterator[tuple[str, str, Path]]:
    """The kind, the order and the file of each load."""
    for order in ("sorted", "random"):
        frame = edges(count, order)
        for suffix in (".parquet", ".csv", ".jsonl"):
            yield "edges", order, written(frame, folder / f"edges-{order}{suffix}")
    yield "vertices", "sorted", written(vertices(count), folder / "vertices.jsonl")


def edges(count: int, order: str) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    ids = max(count // 10, 1)
    start = rng.integers(0, ids, count)
    named = {"from_id": np.sort(start) if order == "sorted" else start, "to_id": rng.integers(0, ids, count)}
    texts = [pl.format("post-{}", pl.Series(name, values)).alias(name) for name, values in named.items()]
    return pl.select(pl.lit("near").alias("label"), *texts, pl.Series("score", rng.random(count)))


def vertices(count: int) -> pl.DataFrame:
    numbers = pl.Series("number", range(count))
    return pl.select(
        pl.lit("film").alias("kind"),
        pl.format("film-{}", numbers).alias("vertex_id"),
        pl.struct(pl.format("Film {}", numbers).alias("title"), (numbers % 120 + 1900).alias("year")).alias(
            "properties"
        ),
    )


def written(frame: pl.DataFrame, file: Path) -> Path:
    match file.suffix:
        case ".parquet":
            frame.write_parquet(file)
        case ".csv":
            with file.open("w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(frame.columns)
                writer.writerows(frame.iter_rows())
        case _:
            with file.open("wb") as lines:
                lines.writelines(
                    orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in frame.iter_rows(named=True)
                )
    return file


def timed(kind: str, file: Path, data_dir: Path, database_url: str | None) -> tuple[float, float]:
    """Seconds by the wall clock, and of all cores together. Raises CalledProcessError."""
    environment = {**os.environ, **({"NEARFEED_DATABASE_URL": database_url} if database_url else {})}
    command = nearfeed("--data-dir", str(data_dir), "import", kind, str(file))
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
