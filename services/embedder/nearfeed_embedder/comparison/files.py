"""A data set in the import format as what models are evaluated on, without a database."""

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.events import KINDS
from nearfeed_contracts.fields import to_micros
from nearfeed_core.readings import WeightRule
from nearfeed_embedder.dataset import Dataset, Post, Readings, text_of
from nearfeed_embedder.weights import row_weights

_INTERACTIONS = ("user_id", "item_id", "kind", "occurred_at")
_ITEMS = ("item_id", "title")


class DataFileError(NearfeedError):
    """A file that is not in the import format; the text names it, the row and the column."""


def read_files(interactions: Path, items: Path | None, rule: WeightRule) -> Dataset:
    """Posts and readings with their weights, as an import and `read_dataset` give them.

    Without `items` the posts are those that were interacted with, and nothing else is known of them;
    interactions with a post that `items` lacks are left out, as an import refuses them. Raises DataFileError.
    """
    rows = _interactions(interactions)
    posts = _posts(items) if items else _posts_of(rows)
    readings, reader_ids = _readings(rows, posts, rule)
    return Dataset(posts, np.ones(len(posts), np.int64), readings, rule.half_life_days, reader_ids)


def read_texts(items: Path) -> dict[str, str]:
    """The text of each post by its id. Raises DataFileError."""
    return {post.item_id: post.text for post in _posts(items)}


def _interactions(path: Path) -> pl.DataFrame:
    """One row per reader, post and kind: `at`, the latest time, and `value`, the lowest rating then."""
    table = _table(path, _INTERACTIONS)
    if "value" not in table.columns:
        table = table.with_columns(value=pl.lit(None))
    rows = pl.DataFrame(
        {
            "user_id": _column(path, table, "user_id", _id_of),
            "item_id": _column(path, table, "item_id", _id_of),
            "kind": _column(path, table, "kind", KINDS.index),
            "at": _column(path, table, "occurred_at", _micros_of),
            "value": _column(path, table, "value", _rating_of),
        },
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "kind": pl.Int64,
            "at": pl.Int64,
            "value": pl.Float64,
        },
    )
    latest = pl.col("value").filter(pl.col("at") == pl.col("at").max()).min()
    return rows.group_by("user_id", "item_id", "kind").agg(value=latest, at=pl.col("at").max())


def _posts(path: Path) -> list[Post]:
    table = _table(path, _ITEMS)
    ids = _column(path, table, "item_id", _id_of)
    titles = _column(path, table, "title", str)
    bodies, communities, tags = (_optional(table, name) for name in ("body", "community_id", "tags"))
    posts = {
        item_id: Post(item_id, str(community or ""), _tags_of(own), text_of(title, str(body or "")))
        for item_id, title, body, community, own in zip(ids, titles, bodies, communities, tags, strict=True)
    }
    return [posts[item_id] for item_id in sorted(posts)]


def _posts_of(rows: pl.DataFrame) -> list[Post]:
    return [Post(item_id, "", (), "") for item_id in rows["item_id"].unique().sort()]


def _readings(rows: pl.DataFrame, posts: list[Post], rule: WeightRule) -> tuple[Readings, list[str]]:
    column = {post.item_id: number for number, post in enumerate(posts)}
    rows = rows.filter(pl.col("item_id").is_in(column)).sort("user_id", "item_id")
    pairs = rows.select("user_id", "item_id").with_columns(
        pair=pl.struct("user_id", "item_id").rle_id().cast(pl.Int64)
    )
    pair, kind = pairs["pair"].to_numpy(), rows["kind"].to_numpy()
    first = pairs.unique("pair", keep="first", maintain_order=True)
    times = np.full((len(first), len(KINDS)), np.nan)
    times[pair, kind] = rows["at"].to_numpy()
    ratings = np.full(len(first), np.nan)
    rated = kind == KINDS.index("rating")
    ratings[pair[rated]] = rows["value"].to_numpy()[rated]
    weight, newest = row_weights(times, ratings, rule)
    kept = first.with_row_index("row").filter(pl.Series(weight > 0))
    taken = kept["row"].to_numpy()
    reader = kept["user_id"].rle_id().to_numpy().astype(np.intp)
    item = np.array([column[item_id] for item_id in kept["item_id"]], dtype=np.intp)
    reader_ids = kept["user_id"].unique(maintain_order=True).to_list()
    return Readings(reader, item, newest[taken], weight[taken]).sorted(), reader_ids


def _table(path: Path, needed: tuple[str, ...]) -> pl.DataFrame:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": lambda file: pl.read_csv(file, infer_schema=False),
        ".jsonl": lambda file: pl.read_ndjson(file, infer_schema_length=None),
    }
    if path.suffix not in readers:
        raise DataFileError(f"{path} must end with .parquet, .csv or .jsonl.")
    try:
        table = readers[path.suffix](path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise DataFileError(f"{path} cannot be read as {path.suffix[1:]}: {reason}.") from None
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataFileError(f"{path} lacks the column {missing[0]}; docs/import.md lists them.")
    return table


def _column(path: Path, table: pl.DataFrame, name: str, parse: Callable[[Any], Any]) -> list[Any]:
    values: list[Any] = table[name].to_list()
    for row, value in enumerate(values):
        try:
            values[row] = parse(value)
        except (ValueError, TypeError, OverflowError):
            raise DataFileError(
                f"{path}, row {row + 1}: {name} cannot be {value!r}; see docs/import.md."
            ) from None
    return values


def _optional(table: pl.DataFrame, name: str) -> list[Any]:
    return table[name].to_list() if name in table.columns else [None] * len(table)


def _tags_of(value: Any) -> tuple[str, ...]:
    """A list, or one text with `|` between the tags."""
    tags = value.split("|") if isinstance(value, str) else value or ()
    return tuple(tag for tag in map(str.strip, map(str, tags)) if tag)


def _id_of(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text.split()) != 1 or len(text.split()[0]) != len(text):
        raise ValueError
    return text


def _micros_of(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return to_micros(value)
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    return round(float(value) * 1_000_000)


def _rating_of(value: Any) -> float | None:
    if value is None or value == "":
        return None
    rating = float(value)
    if not 0 <= rating <= 5:
        raise ValueError
    return rating
