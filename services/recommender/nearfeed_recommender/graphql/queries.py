"""What the loaders read from SQL: for many keys at once, in a few statements.

A statement carries a branch per key with a LIMIT of its own, so that a community of a million posts
costs what the answer shows of it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, false, func, literal, or_, select, union_all

from nearfeed_contracts.events import Kind
from nearfeed_contracts.tables import communities, interactions, items, memberships, reader_resets, vertices
from nearfeed_core.readings import Reading, WeightRule
from nearfeed_recommender.users.reset_marks import LONG_AGO
from nearfeed_recommender.users.rows import reading_after_reset
from nearfeed_runtime.sql import chunks

_BRANCHES = 100  # SQLite takes 500
K = TypeVar("K")


class OfReader(NamedTuple):
    """A reader's readings; with `kinds` only those that have one of them, counting or not."""

    user_id: str
    limit: int
    kinds: tuple[Kind, ...] | None


class Some(NamedTuple):
    """The first `limit` things of one with this id."""

    id: str
    limit: int


class VertexKey(NamedTuple):
    kind: str
    id: str


@dataclass(frozen=True)
class WeighedReading:
    """A reading with its weight relative to the reader's newest. `at` in microseconds since 1970."""

    user_id: str
    item_id: str
    reading: Reading
    weight: float
    at: int


def rows_of_each(
    connection: Connection, keys: Sequence[K], query_of: Callable[[K], Select[Any]]
) -> dict[K, list[Row[Any]]]:
    """The rows of each key's query, in its order."""
    found: dict[K, list[Row[Any]]] = {key: [] for key in keys}
    for chunk in chunks(keys, _BRANCHES):
        branches = [_branch(query_of(key), number) for number, key in enumerate(chunk)]
        for row in connection.execute(union_all(*branches)):
            found[chunk[row.branch]].append(row)
    return found


def _branch(query: Select[Any], number: int) -> Select[Any]:
    return select(query.add_columns(literal(number).label("branch")).subquery())


def readings_of_readers(
    connection: Connection, rule: WeightRule, keys: Sequence[OfReader]
) -> dict[OfReader, list[WeighedReading]]:
    """Readings of undeleted posts, newest first."""

    def query(key: OfReader) -> Select[Any]:
        newest = interactions.c.newest_at
        wanted = _is_in_force(newest) if key.kinds is None else or_(false(), *map(_has, key.kinds))
        return (
            _live_readings()
            .where(interactions.c.user_id == key.user_id, wanted)
            .order_by(newest.desc(), interactions.c.item_id)
            .limit(key.limit)
        )

    return _weighed(connection, rule, rows_of_each(connection, keys, query), lambda row: row.item_id)


def readings_of_posts(
    connection: Connection, rule: WeightRule, keys: Sequence[Some]
) -> dict[Some, list[WeighedReading]]:
    """Counting readings of undeleted posts, newest first."""

    def query(key: Some) -> Select[Any]:
        newest = interactions.c.newest_at
        return (
            _live_readings()
            .where(interactions.c.item_id == key.id, _is_in_force(newest))
            .order_by(newest.desc(), interactions.c.user_id)
            .limit(key.limit)
        )

    return _weighed(connection, rule, rows_of_each(connection, keys, query), lambda row: row.user_id)


def _live_readings() -> Select[Any]:
    return (
        select(interactions, reader_resets.c.reset_at)
        .join(items, items.c.item_id == interactions.c.item_id)
        .outerjoin(reader_resets, reader_resets.c.user_id == interactions.c.user_id)
        .where(~items.c.deleted)
    )


def _is_in_force(time: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether there is such a time, later than a reset of the reader."""
    return time > func.coalesce(reader_resets.c.reset_at, LONG_AGO)


def _has(kind: Kind) -> ColumnElement[bool]:
    return _is_in_force(interactions.c[f"{kind}_at"])


def _weighed(
    connection: Connection, rule: WeightRule, found: dict[K, list[Row[Any]]], tie: Callable[[Row[Any]], str]
) -> dict[K, list[WeighedReading]]:
    newest = _newest_times(connection, {row.user_id for rows in found.values() for row in rows})

    def weighed(row: Row[Any]) -> WeighedReading:
        reading = reading_after_reset(row._mapping)
        newest_at = reading.newest_at()
        at = newest_at if newest_at is not None else max(reading.times.values())
        weight = reading.weight(rule, newest.get(row.user_id, at))
        return WeighedReading(row.user_id, row.item_id, reading, weight, at)

    return {
        key: [weighed(row) for row in sorted(rows, key=lambda row: (-(row.newest_at or 0), tie(row)))]
        for key, rows in found.items()
    }


def _newest_times(connection: Connection, readers: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk in chunks(sorted(readers)):
        query = (
            select(interactions.c.user_id, func.max(interactions.c.newest_at))
            .outerjoin(reader_resets, reader_resets.c.user_id == interactions.c.user_id)
            .where(interactions.c.user_id.in_(chunk), _is_in_force(interactions.c.newest_at))
            .group_by(interactions.c.user_id)
        )
        found.update({user_id: newest for user_id, newest in connection.execute(query)})
    return found


def newest_posts(connection: Connection, keys: Sequence[Some]) -> dict[Some, list[str]]:
    """Ids of the newest posts of communities."""

    def query(key: Some) -> Select[Any]:
        return (
            select(items.c.item_id, items.c.published_at)
            .where(items.c.community_id == key.id, ~items.c.deleted)
            .order_by(items.c.published_at.desc(), items.c.item_id)
            .limit(key.limit)
        )

    return {
        key: [row.item_id for row in sorted(rows, key=lambda row: (-row.published_at, row.item_id))]
        for key, rows in rows_of_each(connection, keys, query).items()
    }


def newest_members(connection: Connection, keys: Sequence[Some]) -> dict[Some, list[str]]:
    """Ids of the readers who joined communities last."""

    def query(key: Some) -> Select[Any]:
        return (
            select(memberships.c.user_id, memberships.c.joined_at)
            .where(memberships.c.community_id == key.id)
            .order_by(memberships.c.joined_at.desc(), memberships.c.user_id)
            .limit(key.limit)
        )

    return {
        key: [row.user_id for row in sorted(rows, key=lambda row: (-row.joined_at, row.user_id))]
        for key, rows in rows_of_each(connection, keys, query).items()
    }


def joined_communities(connection: Connection, keys: Sequence[Some]) -> dict[Some, list[str]]:
    """Ids of the communities of readers, by id."""

    def query(key: Some) -> Select[Any]:
        return (
            select(memberships.c.community_id)
            .where(memberships.c.user_id == key.id)
            .order_by(memberships.c.community_id)
            .limit(key.limit)
        )

    return {
        key: sorted(row.community_id for row in rows)
        for key, rows in rows_of_each(connection, keys, query).items()
    }


def properties_of_vertices(connection: Connection, keys: Sequence[VertexKey]) -> dict[VertexKey, str]:
    """The properties, as JSON, of those vertices that there are."""

    def query(key: VertexKey) -> Select[Any]:
        return select(vertices.c.properties).where(
            vertices.c.kind == key.kind, vertices.c.vertex_id == key.id
        )

    found = rows_of_each(connection, keys, query)
    return {key: rows[0].properties for key, rows in found.items() if rows}


def found_posts(connection: Connection, condition: Any, limit: int) -> list[str]:
    """Ids of the newest posts that meet a condition."""
    query = (
        select(items.c.item_id)
        .where(~items.c.deleted, condition)
        .order_by(items.c.published_at.desc(), items.c.item_id)
        .limit(limit)
    )
    return list(connection.scalars(query))


def first_communities(connection: Connection, limit: int) -> list[str]:
    """Ids of communities, by id."""
    query = select(communities.c.community_id).order_by(communities.c.community_id).limit(limit)
    return list(connection.scalars(query))
