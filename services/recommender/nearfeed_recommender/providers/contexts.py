"""Vectors of posts that are kept: contexts for slate rules and reasons, vectors for what is similar."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection, Engine, select

from nearfeed_contracts.tables import item_contexts
from nearfeed_recommender.providers.kept import Kept
from nearfeed_recommender.readers.profiles import Vector
from nearfeed_recommender.readers.user_vectors import Pooling
from nearfeed_runtime.sql import chunks, reading

_SECONDS = 300.0
_MOST = 50_000
_SPACES = 4


class KeptBySpace:
    """Vectors by space and post, some minutes old at most, of the latest spaces. Thread-safe."""

    def __init__(self, load: Callable[[str, Sequence[str]], Mapping[str, Vector]]) -> None:
        self._load = load
        self._spaces: dict[str, Kept[Vector]] = {}

    def of(self, space: str, ids: Sequence[str]) -> dict[str, Vector]:
        """The vectors (dim) of those posts that have one in the space."""
        kept = self._spaces.get(space)
        if kept is None:
            kept = Kept(partial(self._load, space), seconds=_SECONDS, most=_MOST)
            self._spaces = dict([(space, kept), *self._spaces.items()][:_SPACES])
        return kept.of(ids)


def kept_contexts(engine: Engine, pooling: Pooling) -> KeptBySpace:
    """The contexts of posts, from SQL's side."""

    def load(space: str, ids: Sequence[str]) -> Mapping[str, Vector]:
        with reading(engine) as connection:
            return contexts_of(pooling, connection, space, ids)

    return KeptBySpace(load)


def contexts_of(
    pooling: Pooling, connection: Connection, space: str, ids: Sequence[str]
) -> dict[str, Vector]:
    """The contexts (dim) of those posts that have one in the space."""
    changes: list[tuple[str, int]] = []
    for chunk in chunks(ids):
        query = select(item_contexts.c.item_id, item_contexts.c.change_id).where(
            item_contexts.c.space == space,
            item_contexts.c.item_id.in_(chunk),
            item_contexts.c.context.is_not(None),
        )
        changes += [(row.item_id, row.change_id) for row in connection.execute(query)]
    return pooling.cache.contexts_of(connection, space, changes)
