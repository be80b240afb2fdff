"""The loaders of one request: what is asked for beside each other is read together (no N+1).

Of each there is one question for a level of the query, however many rows the level has.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from strawberry.dataloader import DataLoader

from nearfeed_recommender.catalog.posts import Post, posts_by_id
from nearfeed_recommender.catalog.writes import known_communities
from nearfeed_recommender.graphql.queries import (
    OfReader,
    Some,
    VertexKey,
    WeighedReading,
    first_communities,
    found_posts,
    joined_communities,
    newest_members,
    newest_posts,
    properties_of_vertices,
    readings_of_posts,
    readings_of_readers,
)
from nearfeed_recommender.graphql.relations import Link, Relating, links_of
from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.graphql.threads import in_thread
from nearfeed_runtime.sql import read_connection

K = TypeVar("K")
V = TypeVar("V")
Loader = DataLoader[K, V | None]


class Loaders:
    """All of them raise BackendUnavailableError where SQL does not answer."""

    def __init__(self, sources: GraphSources) -> None:
        self._sources = sources
        self.dialect = sources.engine.dialect.name
        self.posts: Loader[str, Post] = self._of(posts_by_id)
        self.communities: Loader[str, str] = self._of(_known_communities)
        self.vertices: Loader[VertexKey, str] = self._of(properties_of_vertices)
        self.posts_of_community: Loader[Some, list[str]] = self._of(newest_posts)
        self.members: Loader[Some, list[str]] = self._of(newest_members)
        self.joined: Loader[Some, list[str]] = self._of(joined_communities)
        self.readings: Loader[OfReader, list[WeighedReading]] = self._of(
            lambda connection, keys: readings_of_readers(connection, sources.rule, keys)
        )
        self.readers: Loader[Some, list[WeighedReading]] = self._of(
            lambda connection, keys: readings_of_posts(connection, sources.rule, keys)
        )
        self.links: Loader[Relating, list[Link]] = DataLoader(_batched(partial(links_of, sources)))

    async def search(self, condition: Any, limit: int) -> list[str]:
        """Ids of the newest posts that meet a condition."""
        return await in_thread(self._read(lambda connection: found_posts(connection, condition, limit)))

    async def first_communities(self, limit: int) -> list[str]:
        return await in_thread(self._read(lambda connection: first_communities(connection, limit)))

    def _of(self, load: Callable[[Connection, Sequence[K]], Mapping[K, V]]) -> Loader[K, V]:
        return DataLoader(_batched(lambda keys: self._read(lambda connection: load(connection, keys))()))

    def _read(self, work: Callable[[Connection], V]) -> Callable[[], V]:
        def read() -> V:
            with read_connection(self._sources.engine) as connection:
                return work(connection)

        return read


def _known_communities(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    return {name: name for name in known_communities(connection, ids)}


def _batched(load: Callable[[list[K]], Mapping[K, V]]) -> Callable[[list[K]], Awaitable[list[V | None]]]:
    async def load_all(keys: list[K]) -> list[V | None]:
        found = await in_thread(partial(load, keys))
        return [found.get(key) for key in keys]

    return load_all
