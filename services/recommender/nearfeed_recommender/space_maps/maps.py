"""Computes the 2-D map of a space from its input embeddings, its labels, and a user's position on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.errors import ConflictError
from nearfeed_contracts.fields import now_micros
from nearfeed_contracts.tables import item_contexts, items
from nearfeed_core.projection import fit_projection
from nearfeed_recommender.catalog.spaces import require_space
from nearfeed_recommender.space_maps.files import Place, SpaceMap, write_map
from nearfeed_recommender.users.profiles import Profile
from nearfeed_runtime.operations import Said, Step
from nearfeed_runtime.sql import chunks, read_connection

MOST_POSTS = 5_000
_LEAST_POSTS = 2


class TooFewPostsError(ConflictError):
    """A space in which there is nothing to see yet."""


@dataclass(frozen=True)
class ReaderPlace:
    """The weighted mean of the places of what the reader read, and those places by post."""

    place: Place
    readings: list[tuple[str, float, Place]]


def map_space(engine: Engine, runs_url: str, space: str, most: int = MOST_POSTS) -> Iterator[Step]:
    """Makes the map of a space and keeps it beside the runs. Raises NoSuchSpaceError, TooFewPostsError."""
    with read_connection(engine) as connection:
        made = make_map(connection, space, most)
    path = write_map(runs_url, made)
    shown = f"{len(made.item_ids):,} of its {made.posts:,} posts, {sum(made.shares):.0%} of their variance"
    yield Said(f"The map of space {space} is in {path}: {shown}.")


def make_map(connection: Connection, space: str, most: int = MOST_POSTS) -> SpaceMap:
    """A map of `most` posts drawn at random, the same ones for the same posts."""
    require_space(connection, space)
    everything = _posts_of(connection, space)
    if len(everything) < _LEAST_POSTS:
        raise TooFewPostsError(f"Space {space} has fewer than two posts, of which there is no map.")
    drawn = np.random.default_rng(0).permutation(len(everything))[:most]
    ids, contexts = _contexts_of(connection, space, [everything[index] for index in sorted(drawn)])
    plane = fit_projection(contexts)
    return SpaceMap(
        space=space,
        made_at=now_micros(),
        posts=len(everything),
        shares=(float(plane.shares[0]), float(plane.shares[1])),
        centre=plane.centre.tolist(),
        axes=plane.axes.tolist(),
        item_ids=ids,
        places=_places(plane.places(contexts)),
    )


def reader_place(made: SpaceMap, profile: Profile) -> ReaderPlace | None:
    """Where a reader stands; None without a reading that counts."""
    weights = np.array(profile.weights)
    if not weights.any():
        return None
    places = made.projection.places(profile.contexts)
    (mean,) = _places(weights[None, :] @ places / weights.sum())
    rows = zip(profile.item_ids, profile.weights, _places(places), strict=True)
    return ReaderPlace(mean, list(rows))


def _posts_of(connection: Connection, space: str) -> Sequence[str]:
    query = select(item_contexts.c.item_id).where(
        item_contexts.c.space == space, item_contexts.c.context.is_not(None)
    )
    return connection.scalars(query.order_by(item_contexts.c.item_id)).all()


def _contexts_of(
    connection: Connection, space: str, ids: Sequence[str]
) -> tuple[list[str], NDArray[np.float32]]:
    found: list[str] = []
    rows: list[NDArray[np.float32]] = []
    for chunk in chunks(ids):
        query = select(item_contexts.c.item_id, item_contexts.c.context).where(
            item_contexts.c.space == space,
            item_contexts.c.item_id.in_(chunk),
            item_contexts.c.context.is_not(None),
        )
        for item_id, blob in connection.execute(query):
            found.append(item_id)
            rows.append(np.frombuffer(blob, dtype="<f4"))
    return found, np.stack(rows)


def _places(rows: NDArray[np.float64]) -> list[Place]:
    return [(round(float(x), 4), round(float(y), 4)) for x, y in rows]


class Label(NamedTuple):
    """A post's title and community."""

    title: str
    community_id: str


def labels_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, Label]:
    """The labels of undeleted posts, without their texts."""
    found: dict[str, Label] = {}
    for chunk in chunks(ids):
        query = select(items.c.item_id, items.c.title, items.c.community_id)
        query = query.where(items.c.item_id.in_(chunk), items.c.deleted.is_(False))
        found.update({item_id: Label(*label) for item_id, *label in connection.execute(query)})
    return found
