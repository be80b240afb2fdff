"""What sections are made of: rows of results in, rows of tables out."""

import csv
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"
Row = dict[str, str]


def read(name: str) -> list[Row]:
    """The rows of a file of results."""
    with (RESULTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def read_if_measured(name: str) -> list[Row]:
    """The same; none where the file is not there yet."""
    return read(name) if (RESULTS / name).exists() else []


def line(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def machine(row: Row) -> str:
    return f"{row['cores']} cores, {row['processor']}, {row['memory_gib']} GiB"
