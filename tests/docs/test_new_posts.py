"""The figures in docs/new-posts.md are those that were measured."""

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "recall",
    "ratio_to_text",
    "new_share",
    "recall_new_beside_old",
    "recall_old_beside_new",
    "recall_old_alone",
)


def rows(seed: str) -> dict[str, dict[str, str]]:
    with (ROOT / "benchmarks/results/new_posts.csv").open(newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file) if row["seed"] == seed}


def told(heading: str) -> list[list[str]]:
    text = (ROOT / "docs/new-posts.md").read_text()
    (table,) = re.findall(rf"^\| {heading}.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip(" *`") for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def test_the_means_are_those_of_the_file() -> None:
    measured = rows("mean")
    table = told("mean of")
    assert [line[0] for line in table] == list(measured)
    for model, *cells in table:
        row = measured[model]
        assert [float(cell) for cell in cells] == [
            round(float(row[name]), 2 if name == "ratio_to_text" else 4) for name in COLUMNS
        ]


def test_the_seeds_are_those_of_the_file() -> None:
    for seed, whole, interval, text, ratio, shown, read in told("seed"):
        own = rows(seed)
        row = own["pinsage-linear"]
        assert [whole, text] == [row["recall"], own["text"]["recall"]]
        assert interval == f"{row['recall_low']} to {row['recall_high']}"
        assert float(ratio) == round(float(row["ratio_to_text"]), 2)
        assert [shown, read] == [row["new_share"], row["new_share_of_readings"]]
