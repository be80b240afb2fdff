"""Measures the embedded main path on the demo's data and writes benchmarks/results/embedded.csv.

python -m benchmarks [--data-dir DIR]
"""

import argparse
import csv
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import description
from benchmarks.measures import Row, event_to_feed, feed_latency, post_to_feed
from benchmarks.server import nearfeed, served

RESULTS = Path(__file__).parent / "results" / "embedded.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="keep the demo's data here; default: a new folder")
    data_dir = parser.parse_args().data_dir or Path(tempfile.mkdtemp(prefix="nearfeed-bench-"))
    rows = list(measure(data_dir))
    write(rows)


def measure(data_dir: Path) -> Iterator[Row]:
    """All measures, in the order of the flow."""
    yield from prepared(data_dir)
    with served(data_dir) as client:
        for measures in (feed_latency, event_to_feed, post_to_feed):
            for row in measures(client):
                print(f"{row[0]:<40} {row[1]:>12.2f} {row[2]}", flush=True)
                yield row


def prepared(data_dir: Path) -> Iterator[Row]:
    """Imports, trains and loads; the seconds of each step are those that the demo prints."""
    started = time.perf_counter()
    command = nearfeed("demo", "--no-serve", "--data-dir", str(data_dir))
    subprocess.run(command, check=True)
    yield "demo from nothing to ready", time.perf_counter() - started, "s"
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    yield "largest process", peak / 1024, "MiB"
    timings = json.loads((data_dir / "demo" / "timings.json").read_text())
    for step, seconds in timings.items():
        yield re.sub("_", " ", step), float(seconds), "s"


def write(rows: list[Row]) -> None:
    machine = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **description()}
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["measure", "value", "unit", *machine])
        writer.writeheader()
        for measure_name, value, unit in rows:
            writer.writerow({"measure": measure_name, "value": f"{value:.2f}", "unit": unit, **machine})
    sys.stdout.write(f"Written: {RESULTS}\n")


if __name__ == "__main__":
    main()
