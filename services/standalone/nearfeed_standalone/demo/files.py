"""The demo's files in its data folder; what is there is not made again."""

import json
import time
from pathlib import Path

import polars as pl

from nearfeed_contracts.errors import ConflictError
from nearfeed_standalone.demo.films import films_of, load_ratings, newest_second
from nearfeed_standalone.demo.holding_out import split

KINDS = ("items", "interactions", "memberships")
ITEMS = "items.parquet"
HELD_OUT = "held-out.parquet"
_SHIFT = "shift.json"


def films_in(folder: Path, *, simulated: bool = False) -> dict[str, Path]:
    """The Parquet file of each kind; made at the first call, with the newest reading at that moment.

    For simulated readers the ratings that make their taste are kept apart, in `HELD_OUT`; all films stay.
    Raises ConflictError for a folder that was made the other way.
    """
    paths = {kind: folder / f"{kind}.parquet" for kind in KINDS}
    _require_made_so(folder, paths, simulated=simulated)
    missing = {kind: path for kind, path in paths.items() if not path.exists()}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        ratings = load_ratings()
        shift = _shift(folder / _SHIFT, newest_second(ratings))
        parts = split(ratings) if simulated else None
        if parts is not None:
            _write(folder / HELD_OUT, parts.held_out.select("userId", "movieId", "rating", "timestamp"))
        films = films_of(ratings, shift, None if parts is None else parts.kept)
        for kind, path in missing.items():
            _write(path, getattr(films, kind))
    return paths


def _require_made_so(folder: Path, paths: dict[str, Path], *, simulated: bool) -> None:
    """What was held out tells the two apart, and is written first."""
    holds_out = (folder / HELD_OUT).exists()
    if holds_out == simulated or not (holds_out or any(path.exists() for path in paths.values())):
        return
    made, wanted = ("without", "with") if simulated else ("with", "without")
    raise ConflictError(
        f"{folder.parent} was made {made} --simulate, and is trained on other data than {wanted}: name "
        "another folder with --data-dir, or give --fresh to make it anew."
    )


def _shift(path: Path, newest: int) -> int:
    """Kept, so that files made after a break have the same times."""
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"seconds": int(time.time()) - newest}))
        part.replace(path)
    return int(json.loads(path.read_text())["seconds"])


def _write(path: Path, table: pl.DataFrame) -> None:
    part = path.with_suffix(".part")
    table.write_parquet(part)
    part.replace(path)
