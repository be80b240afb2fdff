"""The serving path, wired: what is in memory, the pipelines over it, and the answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from nearfeed_contracts.vector_store import VectorStore
from nearfeed_core.readings import WeightRule
from nearfeed_recommender.catalog.catalog import Catalog
from nearfeed_recommender.catalog.embeddings import Embeddings
from nearfeed_recommender.catalog.posts import PostTexts
from nearfeed_recommender.catalog.spaces import StoredVectors, active_space_of
from nearfeed_recommender.experiments.lifecycle import ExperimentStore
from nearfeed_recommender.exposure_log.writer import ExposureLogWriter
from nearfeed_recommender.infra.breaker import StoreBreaker
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.pipeline.build import Parts, Pipelines
from nearfeed_recommender.pipeline.fetch import source_threads
from nearfeed_recommender.pipeline.new_creators import NewCreators
from nearfeed_recommender.pipeline.popularity import Popularity
from nearfeed_recommender.pipeline.query import Hydrator
from nearfeed_recommender.pipeline.search import open_search
from nearfeed_recommender.serving.exposure import ExposureRecorder
from nearfeed_recommender.serving.feed import Feed, Ranker
from nearfeed_recommender.serving.page import Pages
from nearfeed_recommender.serving.preview import Preview
from nearfeed_recommender.serving.rankings import Rankings
from nearfeed_recommender.serving.response import Responder
from nearfeed_recommender.serving.similar import Similar
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.users.query_vectors import UserVectors
from nearfeed_recommender.users.states import UserStates
from nearfeed_runtime.polling import NOT_YET, when_changed
from nearfeed_runtime.process import Loop
from nearfeed_runtime.sql import read_connection

_EMBEDDED_SECONDS = 5.0
_FOLLOW_SECONDS = 1.0
_POPULARITY_SECONDS = 15.0
_POPULARITY_IDLE_SECONDS = 300.0


@dataclass(frozen=True)
class Answers:
    """What the API answers with, and the parts behind it that writes have to reach."""

    feed: Feed
    pages: Pages
    similar: Similar
    preview: Preview
    catalog: Catalog
    embeddings: Embeddings
    states: UserStates
    rankings: Rankings
    models: Registry
    breaker: StoreBreaker
    loops: Sequence[Loop]


def wire_answers(
    settings: RecommenderSettings,
    engine: Engine,
    store: VectorStore,
    experiments: ExperimentStore,
    log: ExposureLogWriter,
    secret: bytes,
) -> Answers:
    """The serving path around open back ends."""
    rule: WeightRule = settings.weight_rule
    catalog = Catalog(engine)
    columns = catalog.columns
    embeddings = Embeddings(engine, columns)
    states = UserStates(columns, rule, secret)
    popularity, creators = Popularity(engine, columns), NewCreators(engine, columns)
    config = experiments.configuration.live
    models = Registry(engine, settings.runs_url, config)
    seconds = search_seconds(settings)
    breaker = StoreBreaker(seconds)
    stored = StoredVectors(store, embeddings)
    search = open_search(store, stored, in_process=not breaker.waits)
    parts = Parts(
        search=search,
        stored=stored,
        breaker=breaker,
        models=models,
        popularity=popularity,
        creators=creators,
        embeddings=embeddings,
        vectors=UserVectors(engine, embeddings),
        deadline_seconds=seconds or _EMBEDDED_SECONDS,
    )
    hydrator = Hydrator(engine, catalog, states, embeddings)
    responder = Responder(PostTexts(engine, columns), embeddings, hydrator)
    response_seconds = settings.feed_deadline_ms / 1_000
    ranker = Ranker(config, experiments.live, Pipelines(parts), source_threads(), response_seconds)
    exposures = ExposureRecorder(log, popularity)
    rankings = Rankings(engine, columns, int(settings.page_ttl_minutes * 60_000_000))

    def follow() -> None:
        """Keeps columns fresh while nobody asks; reads at first what the first feeds need."""
        first = catalog.change_id < 0
        catalog.follow()
        if not first:
            return
        with read_connection(engine) as connection:
            space = active_space_of(connection)
        if space is not None:
            embeddings.preload(space)

    def follow_popular() -> object:
        if catalog.change_id < 0:
            return NOT_YET
        popularity.follow()
        creators.refresh()
        return None

    return Answers(
        feed=Feed(ranker, hydrator, responder, rankings, exposures, secret),
        pages=Pages(ranker, hydrator, responder, exposures, secret),
        similar=Similar(search, store, breaker, hydrator, responder),
        preview=Preview(ranker, hydrator, responder),
        catalog=catalog,
        embeddings=embeddings,
        states=states,
        rankings=rankings,
        models=models,
        breaker=breaker,
        loops=[
            Loop("rankings", rankings.run),
            Loop("catalog", when_changed(_FOLLOW_SECONDS, follow, engine)),
            Loop(
                "popularity",
                when_changed(_POPULARITY_SECONDS, follow_popular, engine, at_least=_POPULARITY_IDLE_SECONDS),
            ),
        ],
    )


def search_seconds(settings: RecommenderSettings) -> float | None:
    """A store in this process cannot be cut off, and is slow only where all is."""
    in_process = "NEARFEED_VECTORS_URL" in settings.embedded
    return None if in_process else settings.search_timeout_ms / 1_000
