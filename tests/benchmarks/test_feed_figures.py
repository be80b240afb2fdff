"""Figures of several runs become medians, and what stages cost is a difference."""

from benchmarks.feed import stages
from benchmarks.feed.figures import Figure, figures_of, rows_of
from benchmarks.feed.load import Load

_METRICS = """\
# HELP nearfeed_step_seconds Time that a step of a provider took.
# TYPE nearfeed_step_seconds histogram
nearfeed_step_seconds_bucket{le="+Inf",provider="a",step="rank"} 2.0
nearfeed_step_seconds_count{provider="a",step="rank"} 2.0
nearfeed_step_seconds_sum{provider="a",step="rank"} 0.5
nearfeed_step_seconds_count{provider="b",step="rank"} 1.0
nearfeed_step_seconds_sum{provider="b",step="rank"} 0.25
# TYPE nearfeed_http_seconds histogram
nearfeed_http_seconds_count 9.0
nearfeed_http_seconds_sum 9.0
"""


def test_a_row_has_the_median_of_the_runs_and_of_their_ratios_to_their_own_floor() -> None:
    figures = [Figure("sequential", "p50", value, "ms", floor) for value, floor in ((2, 1), (9, 3), (4, 1))]

    (row,) = rows_of("demo", figures)

    assert (row["value"], row["lowest"], row["highest"]) == ("4", "2", "9")
    assert (row["to_floor"], row["runs"]) == ("3", "3")


def test_a_load_without_a_floor_has_no_ratio() -> None:
    load = Load(2.0, 10, 0, 5, 5, p50=1, p95=2, p99=3, slowest=4)

    rows = {row["measure"]: row for row in rows_of("demo", figures_of("sequential", load, None))}

    assert (rows["rate"]["value"], rows["refused"]["value"], rows["failed"]["value"]) == ("5", "25", "25")
    assert {row["to_floor"] for row in rows.values()} == {""}


def test_stages_are_summed_over_providers_and_cost_what_came_since() -> None:
    totals = stages.read(_METRICS)

    assert totals == {"step rank": (0.75, 3.0)}
    assert list(stages.costs({"step rank": (0.25, 1.0)}, totals)) == [
        Figure("stages", "step rank", 250, "ms")
    ]
    assert list(stages.costs(totals, totals)) == []
