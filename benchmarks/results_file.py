"""CSV files of results: rows that were measured anew take the place of the old ones."""

import csv
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import description

Row = Mapping[str, Any]


def put_rows(
    file: Path, rows: Sequence[Row], *, of: Callable[[Row], object], machine: Mapping[str, str] | None = None
) -> None:
    """Writes rows with when and where they were measured; old rows of which `of` is the same go."""
    where = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **description(),
        **(machine or {}),
    }
    fresh = [{**row, **where} for row in rows]
    renewed = {of(row) for row in fresh}
    kept = [row for row in _rows_of(file) if of(row) not in renewed]
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(fresh[0]))
        writer.writeheader()
        writer.writerows([*kept, *fresh])
    sys.stdout.write(f"Written: {file}\n")


def load_average() -> dict[str, str]:
    """How busy the machine was in the last five minutes."""
    return {"load_average": f"{os.getloadavg()[1]:.1f}"}


def _rows_of(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))
