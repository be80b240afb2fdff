"""Writes the figures of benchmarks/results/embedded.csv into the README.

python -m benchmarks.report
"""

import csv
from pathlib import Path

from benchmarks.__main__ import RESULTS

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- figures:begin -->\n", "<!-- figures:end -->"
QUALITY = (
    "pinsage-linear",
    "pinsage",
    "linear",
    "item-knn",
    "popularity",
    "gain over item-knn",
    "gain over popularity",
)
SPEED = ("import interactions: rate", "train", "train: peak memory", "load and activate: rate")
LATENCY = ("feed sequential", "feed with 8 clients", "event to feed", "post to feed")

_TEXT = """\
MovieLens as in the demo: {readers} readers with at least 10 readings after the cut at 70 % of all readings in
time, full ranking, read posts masked, 95 % bootstrap intervals over readers.

| | recall@20 | NDCG@20 |
|---|---|---|
{quality}

On one machine with everything embedded ({place}; the clients run on it too):

| | p50 | p95 | p99 |
|---|---|---|---|
{latency}

| | |
|---|---|
{speed}

`make bench` measures all of this anew and writes this section and `benchmarks/results/embedded.csv`.
"""


def figures() -> str:
    """The README's section, from the CSV alone."""
    with RESULTS.open() as file:
        rows = {row["measure"]: row for row in csv.DictReader(file)}
    machine = next(iter(rows.values()))
    readers = float(rows["evaluated readers"]["value"])
    place = f"{machine['cores']} cores, {machine['processor']}, {machine['memory_gib']} GiB"
    return _TEXT.format(
        readers=f"{readers:.0f}",
        place=place,
        quality="\n".join(
            _row(name, _interval(rows, name, "recall@20"), _interval(rows, name, "ndcg@20"))
            for name in QUALITY
        ),
        latency="\n".join(
            _row(name, *(_value(rows[f"{name}: p{percent}"]) for percent in (50, 95, 99))) for name in LATENCY
        ),
        speed="\n".join(_row(name, _value(rows[name])) for name in SPEED),
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(rows: dict[str, dict[str, str]], name: str, metric: str) -> str:
    mean, low, high = (float(rows[f"{name}: {metric} {bound}"]["value"]) for bound in ("mean", "low", "high"))
    return f"{mean:.4f} [{low:.4f}, {high:.4f}]"


def _value(row: dict[str, str]) -> str:
    return f"{float(row['value']):,.0f} {row['unit']}"


def main() -> None:
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + figures() + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
