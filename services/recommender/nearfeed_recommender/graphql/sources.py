"""What GraphQL is answered from, every part replaceable."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from nearfeed_contracts.vector_store import Filter, Hit, VectorStore
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.config.schema import LiveRelation, Relation
from nearfeed_recommender.feed import FeedSources, active_space_of
from nearfeed_runtime.sql import reading

SEARCHES_AT_ONCE = 4

HitsOf = Mapping[str, Sequence[Hit]]
Nearest = Callable[[str, Sequence[str], int], HitsOf]


@dataclass(frozen=True)
class GraphSources:
    """`relation_of(name)`: how a relation is answered; None where the configuration names none so.

    `nearest(model, ids, limit)`: of each post the `limit` closest others by a model of the
    configuration, best first; posts that the model does not know are left out.
    """

    engine: Engine
    rule: WeightRule
    relation_of: Callable[[str], Relation | None]
    nearest: Nearest


def default_sources(feed: FeedSources) -> GraphSources:
    """Answers `similar` from the active space, whatever the configuration says."""
    relations = {"similar": LiveRelation(model="vectors")}

    def nearest(_model: str, ids: Sequence[str], limit: int) -> HitsOf:
        with reading(feed.engine) as connection:
            space = active_space_of(connection)
        return nearest_by_vector(feed.store, feed.breaker, space, ids, limit)

    return GraphSources(feed.engine, feed.pooling.rule, relations.get, nearest)


def nearest_by_vector(
    store: VectorStore, breaker: StoreBreaker, space: str | None, ids: Sequence[str], limit: int
) -> HitsOf:
    """Of each post that has a vector in the space, the posts closest to it.

    One question for all vectors, then a few searches at a time, each with a deadline of its own. Raises
    StoreUnavailableError and UnknownSpaceError.
    """
    if space is None:
        return {}
    vectors = breaker.ask(partial(store.fetch, space, list(ids)))

    def search(item_id: str) -> list[Hit]:
        others = Filter(exclude_item_ids=frozenset({item_id}))
        return breaker.ask(partial(store.search, space, vectors[item_id], limit, others))

    with ThreadPoolExecutor(SEARCHES_AT_ONCE, thread_name_prefix="graphql-search") as pool:
        return dict(zip(vectors, pool.map(search, vectors), strict=True))
