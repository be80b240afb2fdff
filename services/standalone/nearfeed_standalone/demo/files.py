"""The demo's files in its data folder; what is there is not made again."""

import json
import time
from pathlib import Path

import polars as pl

from nearfeed_standalone.demo.films import films_of, load_ratings, newest_second

KINDS = ("items", "interactions", "memberships")
_SHIFT = "shift.json"


def films_in(folder: Path) -> dict[str, Path]:
    """The Parquet file of each kind; made at the first call, with the newest reading at that moment."""
    paths = {kind: folder / f"{kind}.parquet" for kind in KINDS}
    missing = {kind: path for kind, path in paths.items() if not path.exists()}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        ratings = load_ratings()
        films = films_of(ratings, _shift(folder / _SHIFT, newest_second(ratings)))
        for kind, path in missing.items():
            _write(path, getattr(films, kind))
    return paths


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
