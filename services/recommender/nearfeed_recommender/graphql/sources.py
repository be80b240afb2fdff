"""What GraphQL is answered from, every part replaceable."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine

from nearfeed_contracts.vector_store import Filter, Hit, Hits, VectorStore
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.catalog.spaces import active_space_of
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.config.schema import NeighboursModel, Relation
from nearfeed_recommender.infra.breaker import StoreBreaker
from nearfeed_recommender.models.neighbours import Neighbours
from nearfeed_recommender.serving.wiring import Answers
from nearfeed_runtime.sql import read_connection

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


def graph_sources(
    engine: Engine, store: VectorStore, answers: Answers, config: LiveConfig, rule: WeightRule
) -> GraphSources:
    """Answers relations as the configuration says at the time of the question."""

    def relation_of(name: str) -> Relation | None:
        return config.current.config.relations.get(name)

    def nearest(model: str, ids: Sequence[str], limit: int) -> HitsOf:
        """Raises ModelNotLoadedError, StoreUnavailableError and UnknownSpaceError."""
        if isinstance(config.current.config.models[model], NeighboursModel):
            lists: Neighbours = answers.models.get(model)
            return {item: found[:limit] for item in ids if (found := lists.of(item))}
        space = answers.models.space_of(model)
        if space is None:
            with read_connection(engine) as connection:
                space = active_space_of(connection)
        return nearest_by_vector(store, answers.breaker, space, ids, limit)

    return GraphSources(engine, rule, relation_of, nearest)


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

    def search(item_id: str) -> Hits:
        others = Filter(exclude_item_ids=frozenset({item_id}))
        return breaker.ask(partial(store.search, space, vectors[item_id], limit, others))

    with ThreadPoolExecutor(SEARCHES_AT_ONCE, thread_name_prefix="graphql-search") as pool:
        return dict(zip(vectors, pool.map(search, vectors), strict=True))
