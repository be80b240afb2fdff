"""Measures the embedded main path on the demo's data and writes benchmarks/results/embedded.csv.

python -m benchmarks [--data-dir DIR] [--serving-only]
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from benchmarks.commands import prepared
from benchmarks.measures import Row, event_to_feed, feed_latency, post_to_feed
from benchmarks.results_file import put_rows
from benchmarks.server import served

RESULTS = Path(__file__).parent / "results" / "embedded.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="an empty or new folder for the data")
    parser.add_argument(
        "--serving-only", action="store_true", help="a folder of an earlier run; other rows stay as they are"
    )
    choices = parser.parse_args()
    data_dir = choices.data_dir or Path(tempfile.mkdtemp(prefix="nearfeed-bench-"))
    rows = []
    for row in measure_serving(data_dir) if choices.serving_only else measure(data_dir):
        sys.stdout.write(f"{row[0]:<40} {row[1]:>12.2f} {row[2]}\n")
        sys.stdout.flush()
        rows.append(row)
    write(rows)


def measure(data_dir: Path) -> Iterator[Row]:
    """All measures, in the order of the flow."""
    yield from prepared(data_dir)
    yield from measure_serving(data_dir)


def measure_serving(data_dir: Path) -> Iterator[Row]:
    """What a running server does, on a folder with an active space."""
    with served(data_dir) as client:
        yield from feed_latency(client)
        yield from event_to_feed(client)
        yield from post_to_feed(client)


def write(rows: list[Row]) -> None:
    """Puts rows into the CSV in place of those of the same measures."""
    named = [{"measure": name, "value": f"{value:.4g}", "unit": unit} for name, value, unit in rows]
    put_rows(RESULTS, named, of=itemgetter("measure"))


if __name__ == "__main__":
    main()
