"""Measures the embedded main path on the demo's data and writes benchmarks/results/embedded.csv.

python -m benchmarks [--data-dir DIR]
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.commands import prepared
from benchmarks.machine import description
from benchmarks.measures import Row, event_to_feed, feed_latency, post_to_feed
from benchmarks.server import served

RESULTS = Path(__file__).parent / "results" / "embedded.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="an empty or new folder for the data")
    data_dir = parser.parse_args().data_dir or Path(tempfile.mkdtemp(prefix="nearfeed-bench-"))
    rows = []
    for row in measure(data_dir):
        sys.stdout.write(f"{row[0]:<40} {row[1]:>12.2f} {row[2]}\n")
        sys.stdout.flush()
        rows.append(row)
    write(rows)


def measure(data_dir: Path) -> Iterator[Row]:
    """All measures, in the order of the flow."""
    yield from prepared(data_dir)
    with served(data_dir) as client:
        yield from feed_latency(client)
        yield from event_to_feed(client)
        yield from post_to_feed(client)


def write(rows: list[Row]) -> None:
    machine = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **description()}
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["measure", "value", "unit", *machine])
        writer.writeheader()
        for measure_name, value, unit in rows:
            writer.writerow({"measure": measure_name, "value": f"{value:.4g}", "unit": unit, **machine})
    sys.stdout.write(f"Written: {RESULTS}\n")


if __name__ == "__main__":
    main()
