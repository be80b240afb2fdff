"""Lines of an evaluation as tables for a terminal, and as a CSV."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from nearfeed_contracts.errors import NearfeedError
from nearfeed_core.bootstrap import Interval
from nearfeed_embedder.evaluation.ranking import CUTOFFS, K
from nearfeed_embedder.evaluation.results import COVERAGE, Line
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
_VERDICTS = {1: "better", -1: "worse", 0: "not told apart"}
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
            ("model", *(f"{_HEADINGS[name]} @{k}" for name, k in columns)),
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
                (model, *(_gain(at[model, ALL, name, K].gain) for name in _ACCURACY))
                for model in models
                if model != reference
            ),
        )
    yield _slices(lines, models)


def _slices(lines: Sequence[Line], models: Sequence[str]) -> Listed:
    """Recall by slice and model, with the number of readers."""
    means = {(line.slice, line.model): line for line in lines if (line.metric, line.k) == ("recall", K)}
    rows = []
    for name in dict.fromkeys(line.slice for line in lines):
        found = [means[name, model] for model in models]
        rows.append((name, str(found[0].readers), *(_mean(line) for line in found)))
    return Listed((f"recall@{K} of", "readers", *models), tuple(rows))


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
        gain = (reference, line.gain.mean, line.gain.low, line.gain.high, _VERDICTS[line.gain.sign])  # type: ignore[assignment]
    return (line.model, line.slice, line.readers, line.metric, line.k, line.mean, *bounds, *gain)


def _mean(line: Line) -> str:
    return f"{line.mean:.2f}" if line.metric == "novelty" else f"{line.mean:.4f}"


def _interval(value: Interval | float) -> str:
    assert isinstance(value, Interval)
    return f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _gain(gain: Interval | None) -> str:
    assert gain is not None
    return f"{_interval(gain)} {_VERDICTS[gain.sign]}"
