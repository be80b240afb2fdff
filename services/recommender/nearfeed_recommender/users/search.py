"""Readers as an operator looks for them, and what is near one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Connection, Select, func, select

from nearfeed_contracts.tables import interactions, memberships, user_vectors
from nearfeed_core.projection import unit_rows
from nearfeed_recommender.catalog.posts import Post
from nearfeed_recommender.users.profiles import Profile

MOST_COMPARED = 20_000
_AT_ONCE = 1000
_AFTER_ALL = "\U0010ffff"


@dataclass(frozen=True)
class FoundReader:
    """A reader with how many posts they have met and how many communities they have joined."""

    user_id: str
    posts: int
    communities: int


@dataclass(frozen=True)
class NearReaders:
    """The closest readers with their cosines, best first, among `compared` of `comparable` ones."""

    closest: list[tuple[str, float]]
    compared: int
    comparable: int


@dataclass(frozen=True)
class Topic:
    """A tag with the sum of the weights of the readings that have it."""

    tag: str
    weight: float


def find_readers(connection: Connection, prefix: str, limit: int) -> list[FoundReader]:
    """The first `limit` readers by id that begin so and have read something or joined a community."""
    found: set[str] = set()
    for column in (interactions.c.user_id, memberships.c.user_id):
        found.update(connection.scalars(_beginning(column, prefix).limit(limit)))
    first = sorted(found)[:limit]
    posts = _counts(connection, interactions.c.user_id, first)
    joined = _counts(connection, memberships.c.user_id, first)
    return [FoundReader(user_id, posts.get(user_id, 0), joined.get(user_id, 0)) for user_id in first]


def nearest_readers(
    connection: Connection, space: str, user_id: str, vector: NDArray[np.float32], limit: int
) -> NearReaders:
    """Compares a reader's vector (dim) with those of others in the space: all, or 20,000 drawn by chance.

    The draw follows from the reader's id, so that asking again finds the same.
    """
    query = select(user_vectors.c.user_id).where(user_vectors.c.space == space)
    known = connection.scalars(query.where(user_vectors.c.user_id != user_id)).all()
    drawn = _drawn(known, MOST_COMPARED, user_id)
    parts = [drawn[start : start + _AT_ONCE] for start in range(0, len(drawn), _AT_ONCE)]
    found = [_closest(connection, space, ids, vector, limit) for ids in parts]
    closest = sorted((pair for each, _ in found for pair in each), key=lambda pair: (-pair[1], pair[0]))
    return NearReaders(closest[:limit], sum(compared for _, compared in found), len(known))


def _drawn(ids: Sequence[str], most: int, seed: str) -> Sequence[str]:
    """All, or `most` of them, each as likely as another."""
    if len(ids) <= most:
        return ids
    places = np.random.default_rng(list(seed.encode())).choice(len(ids), most, replace=False)
    ordered = sorted(ids)
    return [ordered[place] for place in np.sort(places)]


def _closest(
    connection: Connection, space: str, ids: Sequence[str], vector: NDArray[np.float32], limit: int
) -> tuple[list[tuple[str, float]], int]:
    """The closest of some readers with their cosines, and how many have a vector that is not stale."""
    query = select(user_vectors.c.user_id, user_vectors.c.vector).where(
        user_vectors.c.space == space, user_vectors.c.user_id.in_(ids), user_vectors.c.stale.is_(False)
    )
    rows = connection.execute(query).all()
    if not rows:
        return [], 0
    stored = np.stack([np.frombuffer(row.vector, dtype="<f4") for row in rows])
    cosines = unit_rows(stored.astype(np.float64)) @ unit_rows(vector[None, :].astype(np.float64))[0]
    best = np.argsort(-cosines, kind="stable")[:limit]
    return [(rows[index].user_id, float(cosines[index])) for index in best], len(rows)


def topics_of(profile: Profile, posts: Mapping[str, Post]) -> list[Topic]:
    """The tags of a reader's readings, those of the most weight first; a post with n tags gives each 1/n."""
    weights: dict[str, float] = {}
    for item_id, weight in zip(profile.item_ids, profile.weights, strict=True):
        tags = posts[item_id].tags if item_id in posts else ()
        for tag in tags:
            weights[tag] = weights.get(tag, 0.0) + weight / len(tags)
    return [Topic(tag, weight) for tag, weight in sorted(weights.items(), key=lambda p: (-p[1], p[0]))]


def _beginning(column: Column[str], prefix: str) -> Select[str]:
    """Ids in order that begin with a prefix, as a range, which an index can walk."""
    query = select(column).distinct().order_by(column)
    return query.where(column >= prefix, column < prefix + _AFTER_ALL) if prefix else query


def _counts(connection: Connection, column: Column[str], ids: Sequence[str]) -> dict[str, int]:
    query = select(column, func.count()).where(column.in_(ids)).group_by(column)
    return {user_id: count for user_id, count in connection.execute(query)}
