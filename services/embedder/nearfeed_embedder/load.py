"""Reads the dataset from SQL, in batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, Engine, Select, func, select

from nearfeed_contracts.events import KINDS
from nearfeed_contracts.tables import interactions, items
from nearfeed_core.readings import WeightRule
from nearfeed_embedder.dataset import Dataset, Post, Readings, text_of
from nearfeed_embedder.stages import Stage
from nearfeed_embedder.weights import row_weights
from nearfeed_runtime.operations import Progress
from nearfeed_runtime.sql import read_connection

_BATCH = 20_000
_TIMES = [interactions.c[f"{kind}_at"] for kind in KINDS]


def read_dataset(engine: Engine, rule: WeightRule) -> Stage[Dataset]:
    """All posts that are not deleted, and the readings of them that count."""
    with read_connection(engine) as connection:
        total = _count(connection, select(func.count()).select_from(items))
        total += _count(connection, select(func.count()).select_from(interactions))
        yield Progress("Reading data", 0, total)
        posts, versions = _read_posts(connection)
        yield Progress("Reading data", len(posts), total)
        readings, reader_ids = yield from _read_readings(connection, rule, posts, total)
    yield Progress("Reading data", total, total)
    return Dataset(posts, versions, readings, rule.half_life_days, reader_ids)


def _count(connection: Connection, statement: Select[int]) -> int:
    return int(connection.scalar(statement) or 0)


def _read_posts(connection: Connection) -> tuple[list[Post], Any]:
    columns = items.c
    statement = (
        select(
            columns.item_id, columns.version, columns.community_id, columns.title, columns.body, columns.tags
        )
        .where(~columns.deleted)
        .order_by(columns.item_id)
    )
    posts: list[Post] = []
    versions: list[int] = []
    for row in connection.execution_options(yield_per=_BATCH).execute(statement):
        tags = tuple(orjson.loads(row.tags))
        posts.append(Post(row.item_id, row.community_id, tags, text_of(row.title, row.body)))
        versions.append(row.version)
    return posts, np.array(versions, dtype=np.int64)


def _read_readings(
    connection: Connection, rule: WeightRule, posts: Sequence[Post], total: int
) -> Stage[tuple[Readings, list[str]]]:
    columns = interactions.c
    statement = select(columns.user_id, columns.item_id, columns.rating_value, *_TIMES).order_by(
        columns.user_id, columns.item_id
    )
    item_index = {post.item_id: index for index, post in enumerate(posts)}
    reader_index: dict[str, int] = {}
    no_rows = np.empty(0, np.intp)
    parts = [Readings(no_rows, no_rows, np.empty(0, np.int64), np.empty(0))]
    done = len(posts)
    for batch in connection.execution_options(yield_per=_BATCH).execute(statement).partitions():
        parts.append(_readings_of(batch, rule, item_index, reader_index))
        done += len(batch)
        yield Progress("Reading data", done, total)
    return _joined(parts).sorted(), list(reader_index)


def _joined(parts: Sequence[Readings]) -> Readings:
    return Readings(
        np.concatenate([part.reader for part in parts]),
        np.concatenate([part.item for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )


def _readings_of(
    batch: Sequence[Any], rule: WeightRule, item_index: Mapping[str, int], reader_index: dict[str, int]
) -> Readings:
    numbers = np.array([tuple(row[2:]) for row in batch], dtype=np.float64)
    weight, newest = row_weights(numbers[:, 1:], numbers[:, 0], rule)
    item = np.array([item_index.get(row.item_id, -1) for row in batch], dtype=np.intp)
    keep = (weight > 0) & (item >= 0)
    reader = np.array(
        [
            reader_index.setdefault(row.user_id, len(reader_index)) if kept else -1
            for row, kept in zip(batch, keep, strict=True)
        ],
        dtype=np.intp,
    )
    return Readings(reader, item, newest, weight).take(keep)
