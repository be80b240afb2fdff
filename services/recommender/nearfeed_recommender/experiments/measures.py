"""What is measured: each metric is a ratio of sums over readers, now and before."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nearfeed_core.experiments.clusters import UnitSums
from nearfeed_recommender.experiments.schema import Metric

ONE, NONE = "one", "none"  # a mean per reader, and nothing earlier to compare with


class Ratio(NamedTuple):
    """Columns of a reader's sums."""

    numerator: str
    denominator: str
    earlier_numerator: str = NONE
    earlier_denominator: str = NONE


def _per_reader(kind: str) -> Ratio:
    return Ratio(kind, ONE, f"earlier_{kind}", ONE)


RATIOS: dict[Metric, Ratio] = {
    "ctr": Ratio("clicks", "impressions", "earlier_clicks", "earlier_impressions"),
    "clicks_per_reader": _per_reader("clicks"),
    "reads_per_reader": _per_reader("reads"),
    "likes_per_reader": _per_reader("likes"),
    "hides_per_reader": _per_reader("hides"),
    "depth": Ratio("depth", "requests"),
    "took_ms": Ratio("took", "timed"),
    "degraded": Ratio("degraded", "requests"),
    "failed": Ratio("failed", "requests"),
}
EARLIER = ("impressions", "clicks", "reads", "likes", "hides")
COLUMNS = (
    "requests",
    *EARLIER,
    "depth",
    "took",
    "timed",
    "degraded",
    "failed",
    *(f"earlier_{kind}" for kind in EARLIER),
)


def pairs() -> Iterator[tuple[str, str]]:
    """The columns whose products are needed, each pair once and in the order of its names."""
    found = {
        (min(left, right), max(left, right))
        for ratio in RATIOS.values()
        for left in ratio
        for right in ratio
        if not {left, right} & {ONE, NONE}
    }
    yield from sorted(found)


def unit_sums(row: Mapping[str, Any], metric: Metric, *, earlier: bool) -> UnitSums:
    """A metric's sums from those of an arm: `units`, each column, and `LEFT*RIGHT` for each of `pairs`.

    Without `earlier` there is nothing to adjust by.
    """
    columns = (
        RATIOS[metric]
        if earlier
        else RATIOS[metric]._replace(earlier_numerator=NONE, earlier_denominator=NONE)
    )
    totals = tuple(_total(row, column) for column in columns)
    products = tuple(tuple(_product(row, left, right) for right in columns) for left in columns)
    return UnitSums(int(row["units"]), totals, products)


def _total(row: Mapping[str, Any], column: str) -> float:
    if column == NONE:
        return 0.0
    return float(row["units"] if column == ONE else row[column] or 0)


def _product(row: Mapping[str, Any], left: str, right: str) -> float:
    if NONE in (left, right):
        return 0.0
    if ONE in (left, right):
        return _total(row, right if left == ONE else left)
    return float(row[f"{min(left, right)}*{max(left, right)}"] or 0)
