"""Figures of several runs: medians, and their ratio to the floor of the same run."""

from collections.abc import Iterable, Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.feed.load import Load

Row = dict[str, str]


class Figure(NamedTuple):
    """`floor` is what the floor has of the same measure in the same run; `others` are cores that were busy
    with something else than the benchmark."""

    load: str
    measure: str
    value: float
    unit: str
    floor: float | None = None
    others: float = 0.0


def figures_of(name: str, load: Load, floor: Load | None, others: float = 0.0) -> Iterator[Figure]:
    """Rate, latencies and kinds of answers of a load."""
    yield Figure(name, "rate", load.rate, "1/s", None if floor is None else floor.rate, others)
    for measure in ("p50", "p95", "p99", "slowest"):
        floored = None if floor is None else getattr(floor, measure)
        yield Figure(name, measure, getattr(load, measure), "ms", floored, others)
    for kind in ("degraded", "refused", "failed"):
        yield Figure(name, kind, load.share(getattr(load, kind)), "%", None, others)


def rows_of(scenario: str, figures: Iterable[Figure]) -> list[Row]:
    """A row for each measure of a load, in the order in which they came first."""
    grouped: dict[tuple[str, str, str], list[Figure]] = {}
    for figure in figures:
        grouped.setdefault((figure.load, figure.measure, figure.unit), []).append(figure)
    return [
        {
            "scenario": scenario,
            "load": load,
            "measure": measure,
            "value": _written(median(each.value for each in runs)),
            "unit": unit,
            "lowest": _written(min(each.value for each in runs)),
            "highest": _written(max(each.value for each in runs)),
            "to_floor": _to_floor(runs),
            "runs": str(len(runs)),
            "others_cores": f"{median(each.others for each in runs):.2f}",
        }
        for (load, measure, unit), runs in grouped.items()
    ]


def _to_floor(runs: list[Figure]) -> str:
    ratios = [each.value / each.floor for each in runs if each.floor]
    return _written(median(ratios)) if ratios else ""


def _written(value: float) -> str:
    return f"{value:.4g}"
