"""What GraphQL is answered from, every part replaceable."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from nearfeed_contracts.vector_store import Filter, Hit, VectorStore
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.config.schema import NeighboursModel, Relation
from nearfeed_recommender.models.neighbours import Neighbours
from nearfeed_recommender.providers.request import active_space_of
from nearfeed_recommender.providers.serving import Serving
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


def graph_sources(serving: Serving) -> GraphSources:
    """Answers relations as the configuration says that holds when they are asked for."""

    def relation_of(name: str) -> Relation | None:
        return serving.config.current.config.relations.get(name)

    return GraphSources(serving.engine, serving.pooling.rule, relation_of, partial(_nearest, serving))


def _nearest(serving: Serving, model: str, ids: Sequence[str], limit: int) -> HitsOf:
    """Raises ModelNotLoadedError, StoreUnavailableError and UnknownSpaceError."""
    if isinstance(serving.config.current.config.models[model], NeighboursModel):
        lists: Neighbours = serving.models.get(model)
        return {item: found[:limit] for item in ids if (found := lists.of(item))}
    space = serving.models.space_of(model)
    if space is None:
        with reading(serving.engine) as connection:
            space = active_space_of(connection)
    return nearest_by_vector(serving.store, serving.breaker, space, ids, limit)


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
