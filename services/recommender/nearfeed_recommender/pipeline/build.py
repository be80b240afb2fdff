"""From a provider of the configuration to its pipeline, made once per version."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.catalog.spaces import StoredVectors
from nearfeed_recommender.config.live import Snapshot
from nearfeed_recommender.config.schema import (
    Config,
    FollowedSource,
    FormulaRanking,
    LatestSource,
    ListsSource,
    ModelRanking,
    NeighboursSource,
    NewcomersSource,
    PicksSource,
    PopularSource,
    Provider,
    Ranking,
    SimilarSource,
    VectorsSource,
    WalkSource,
)
from nearfeed_recommender.config.schema import Source as SourceSpec
from nearfeed_recommender.infra.breaker import StoreBreaker
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.pipeline.candidates import NEW
from nearfeed_recommender.pipeline.fetch import SourceStage
from nearfeed_recommender.pipeline.fuse import Fuser
from nearfeed_recommender.pipeline.less import LessLikeThis
from nearfeed_recommender.pipeline.new_creators import NewCreators
from nearfeed_recommender.pipeline.pipeline import Pipeline
from nearfeed_recommender.pipeline.popularity import Popularity
from nearfeed_recommender.pipeline.rank import BlendOrder, ByFormula, ByRanker, RankStage
from nearfeed_recommender.pipeline.search import Search
from nearfeed_recommender.pipeline.slate import Slate
from nearfeed_recommender.pipeline.sources.models import ItemToItem, Picks, RandomWalk, UserLists
from nearfeed_recommender.pipeline.sources.nearest import NearestToUser, SimilarToLast
from nearfeed_recommender.pipeline.sources.recent import Followed, FromNewCreators, Latest, Popular
from nearfeed_recommender.pipeline.sources.source import Source
from nearfeed_recommender.users.query_vectors import UserVectors

_KINDS = {
    "similar": "close_to_read",
    "neighbours": "read_by_others",
    "walk": "read_by_others",
    "lists": "chosen",
    "popular": "popular",
    "latest": "latest",
    "followed": "followed",
    "newcomers": "newcomer",
    "picks": "pick",
}
CHEAP = "popular-and-latest"
"""The provider of an overloaded process, whatever the configuration is."""
_CHEAP = Provider.model_validate(
    {
        "sources": {"popular": {"type": "popular"}, "latest": {"type": "latest"}},
        "blend": {"type": "interleave"},
    }
)


@dataclass(frozen=True)
class Parts:
    """What stages are made of. `deadline_seconds` is for a source of which the configuration says nothing."""

    search: Search
    stored: StoredVectors
    breaker: StoreBreaker
    models: Registry
    popularity: Popularity
    creators: NewCreators
    embeddings: Embeddings
    vectors: UserVectors
    deadline_seconds: float


class Pipelines:
    """The pipelines of the configuration, by provider; made again when its version changes. Thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.cheap = build_pipeline(CHEAP, _CHEAP, parts)
        self._built: tuple[Config, Mapping[str, Pipeline]] | None = None

    def of(self, snapshot: Snapshot) -> Mapping[str, Pipeline]:
        """Those of a version; a request asks once and keeps them."""
        built = self._built
        if built is None or built[0] is not snapshot.config:
            self._built = built = snapshot.config, build(snapshot.config, self._parts)
        return built[1]


def build(config: Config, parts: Parts) -> dict[str, Pipeline]:
    """The pipelines of all providers. Fallbacks form no circle, which the configuration's checks see to."""
    built: dict[str, Pipeline] = {}

    def add(name: str) -> Pipeline:
        if name not in built:
            provider = config.providers[name]
            fallback = add(provider.fallback) if provider.fallback else None
            built[name] = build_pipeline(name, provider, parts, fallback)
        return built[name]

    for name in config.providers:
        add(name)
    return built


def build_pipeline(name: str, provider: Provider, parts: Parts, fallback: Pipeline | None = None) -> Pipeline:
    """One provider with its stages."""
    sources = provider.sources
    kinds = {NEW: NEW} | {source: kind_of(spec) for source, spec in sources.items()}
    return Pipeline(
        name=name,
        sources=[_stage(source, spec, parts) for source, spec in sources.items()],
        kinds=[*(kinds[source] for source in sources), kinds[NEW]],
        filters=provider.filters,
        fuser=Fuser(provider.blend, list(sources), [spec.weight for spec in sources.values()]),
        depth=provider.depth,
        ranking=_ranking(provider.rank, list(sources), parts),
        less=LessLikeThis(parts.embeddings),
        slate=Slate(provider.slate, parts.embeddings, parts.models),
        fallback=fallback,
    )


def kind_of(source: SourceSpec) -> str:
    """The kind of reason that a source's posts have."""
    if isinstance(source, VectorsSource):
        return "new" if source.hours is not None else "close_to_read"
    return _KINDS[source.type]


def _stage(name: str, spec: SourceSpec, parts: Parts) -> SourceStage:
    source = build_source(spec, parts)
    return SourceStage(
        name=name,
        type=spec.type,
        source=source,
        key=spec.model_copy(update={"weight": 1.0, "deadline_ms": None}).model_dump_json(),
        limit=spec.limit,
        deadline_seconds=_deadline(spec, parts),
        waits=source.waits or spec.deadline_ms is not None,
    )


def _deadline(spec: SourceSpec, parts: Parts) -> float:
    return spec.deadline_ms / 1_000 if spec.deadline_ms else parts.deadline_seconds


def build_source(spec: SourceSpec, parts: Parts) -> Source:
    """The source of a specification."""
    return _SOURCES[type(spec)](spec, parts)


def _nearest(spec: VectorsSource, parts: Parts) -> Source:
    return NearestToUser(spec, parts.search, parts.breaker, parts.vectors, parts.models)


_SOURCES: Mapping[type, Callable[[Any, Parts], Source]] = {
    VectorsSource: _nearest,
    SimilarSource: lambda spec, parts: SimilarToLast(
        spec, parts.search, parts.stored, parts.breaker, parts.models
    ),
    NeighboursSource: lambda spec, parts: ItemToItem(spec, parts.models),
    WalkSource: lambda spec, parts: RandomWalk(spec, parts.models),
    ListsSource: lambda spec, parts: UserLists(spec, parts.models),
    PicksSource: lambda spec, _: Picks(spec),
    PopularSource: lambda spec, parts: Popular(spec, parts.popularity),
    LatestSource: lambda spec, _: Latest(spec),
    FollowedSource: lambda spec, _: Followed(spec),
    NewcomersSource: lambda spec, parts: FromNewCreators(spec, parts.creators),
}


def _ranking(ranking: Ranking, sources: list[str], parts: Parts) -> RankStage:
    match ranking:
        case FormulaRanking():
            return ByFormula(ranking, sources, parts.popularity)
        case ModelRanking():
            return ByRanker(ranking, parts.models, parts.popularity)
        case _:
            return BlendOrder()
