"""Measures feeds, pages, similar posts and events beside the floor of the framework.

    python -m benchmarks.feed [SCENARIO …] [--data DIR] [--runs 3] [--seconds 10] [--results FILE]

Figures are medians of several runs, each with a floor of its own. The load generators, wrk and vegeta, run on
the same machine. Rows of the results for other scenarios are kept.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from benchmarks.feed.figures import Figure, rows_of
from benchmarks.feed.load import MissingGeneratorError, versioned
from benchmarks.feed.measuring import Run
from benchmarks.feed.processes import wait_quiet
from benchmarks.feed.scenarios import SCENARIOS, Scenario
from benchmarks.results_file import load_average, put_rows

RESULTS = Path(__file__).parents[1] / "results" / "feed.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    about = "\n".join(f"{name:<14} {scenario.about}" for name, scenario in SCENARIOS.items())
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"all, or some of:\n{about}")
    parser.add_argument("--data", type=Path, help="folder that `nearfeed demo` has made; else one is made")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--bound", type=float, default=1_800, help="seconds that a scenario may take")
    parser.add_argument(
        "--quiet", type=float, default=60, help="seconds to wait for a quiet machine before a run"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    choices = parser.parse_args()
    names = choices.scenarios or list(SCENARIOS)
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    try:
        tools = {"load_generators": " ".join(versioned(name) for name in ("wrk", "vegeta"))}
    except MissingGeneratorError as missing:
        parser.error(str(missing))
    for name in names:
        figures = list(measured(name, SCENARIOS[name], choices))
        put_rows(
            choices.results,
            rows_of(name, figures),
            of=itemgetter("scenario"),
            machine={**tools, **load_average()},
        )


def measured(name: str, scenario: Scenario, choices: argparse.Namespace) -> Iterator[Figure]:
    """The figures of all runs, or of those that fit into the bound."""
    data = scenario.data(choices.data)
    give_up = time.monotonic() + choices.bound
    for number in range(choices.runs):
        others = wait_quiet(choices.quiet)
        say(name, number, Figure("before", "others", others, "cores"))
        for figure in scenario.measure(Run(number, data, choices.seconds)):
            say(name, number, figure)
            yield figure
            if time.monotonic() > give_up:
                sys.stdout.write(f"{name}: ended in run {number + 1}, for it took {choices.bound:.0f} s\n")
                return


def say(name: str, number: int, figure: Figure) -> None:
    beside = f"{figure.value / figure.floor:>8.2f} x floor" if figure.floor else ""
    value = f"{figure.value:>10.2f} {figure.unit:<5}{beside}"
    sys.stdout.write(f"{name:<14} {number + 1} {figure.load:<38} {figure.measure:<14} {value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
