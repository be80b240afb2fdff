"""Lines of an evaluation as tables for a terminal, and as a CSV."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.bootstrap import Interval
from nearfeed_embedder.comparison.results import COVERAGE, Line
from nearfeed_embedder.evaluation.ranking import CUTOFFS, K
from nearfeed_embedder.evaluation.slices import ALL
from nearfeed_runtime.operations import Listed

_HEADINGS = {
    "recall": "recall",
    "ndcg": "NDCG",
    "hit_rate": "hit rate",
    "mrr": "MRR",
    COVERAGE: "coverage",
    "novelty": "novelty",
    "popularity_share": "popular",
    "new_share": "new",
}
_PAIRS = (("recall", "ndcg"), ("hit_rate", "mrr"), (COVERAGE, "novelty"), ("popularity_share", "new_share"))
_ACCURACY = ("recall", "ndcg")
_QUALITY = {"recall", "ndcg", "hit_rate", "mrr"}
COLUMNS = (
    "model", "slice", "readers", "metric", "k", "mean", "low", "high",
    "reference", "gain", "gain_low", "gain_high", "verdict",
)  # fmt: skip


def tables_of(lines: Sequence[Line], reference: str) -> Iterator[Listed]:
    """All metrics at all cutoffs, then intervals, gains over the reference and slices at 20."""
    models = list(dict.fromkeys(line.model for line in lines))
    at = {(line.model, line.slice, line.metric, line.k): line for line in lines}
    for pair in _PAIRS:
        columns = [(name, k) for name in pair for k in CUTOFFS]
        yield Listed(
            ("model", *(f"{_HEADINGS[name]}\n@{k}" for name, k in columns)),
            tuple((model, *(_mean(at[model, ALL, name, k]) for name, k in columns)) for model in models),
        )
    yield Listed(
        (f"95 % intervals at {K}", *(_HEADINGS[name] for name in _ACCURACY)),
        tuple((model, *(_interval(at[model, ALL, name, K].value) for name in _ACCURACY)) for model in models),
    )
    if len(models) > 1:
        yield Listed(
            (f"gain over {reference} at {K}", *(_HEADINGS[name] for name in _ACCURACY)),
            tuple(
                (model, *(_gain(name, at[model, ALL, name, K].gain) for name in _ACCURACY))
                for model in models
                if model != reference
            ),
        )
    yield _slices(lines, models)


def _slices(lines: Sequence[Line], models: Sequence[str]) -> Listed:
    """Recall by model and slice, with the number of readers."""
    at = {(line.model, line.slice): line for line in lines if (line.metric, line.k) == ("recall", K)}
    names = list(dict.fromkeys(line.slice for line in lines))
    headings = [_folded(name, at[models[0], name].readers) for name in names]
    rows = [(model, *(_mean(at[model, name]) for name in names)) for model in models]
    return Listed((f"recall@{K} of", *headings), tuple(rows))


def _folded(name: str, readers: int) -> str:
    """A heading of short lines."""
    return "\n".join([*name.replace(" (", "\n(").split("\n"), f"{readers} readers"])


def write_csv(path: Path, lines: Sequence[Line], reference: str) -> None:
    """One row a line, with the columns of `COLUMNS`. Raises NearfeedError where it cannot be written."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_row(line, reference) for line in lines)
    except OSError as error:
        raise NearfeedError(f"--csv: {path} cannot be written ({error.strerror}).") from None


def _row(line: Line, reference: str) -> tuple[object, ...]:
    bounds = (line.value.low, line.value.high) if isinstance(line.value, Interval) else ("", "")
    gain = ("", "", "", "", "")
    if line.gain:
        gain = (reference, line.gain.mean, line.gain.low, line.gain.high, _verdict(line.metric, line.gain))  # type: ignore[assignment]
    return (line.model, line.slice, line.readers, line.metric, line.k, line.mean, *bounds, *gain)


def _mean(line: Line) -> str:
    return f"{line.mean:.2f}" if line.metric == "novelty" else f"{line.mean:.4f}"


def _interval(value: Interval | float) -> str:
    assert isinstance(value, Interval)
    return f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _gain(metric: str, gain: Interval | None) -> str:
    assert gain is not None
    return f"{_interval(gain)} {_verdict(metric, gain)}"


def _verdict(metric: str, gain: Interval) -> str:
    """Where the interval lies; more novelty or new posts is neither better nor worse."""
    above, below = ("better", "worse") if metric in _QUALITY else ("higher", "lower")
    return {1: above, -1: below, 0: "not told apart"}[gain.sign]
