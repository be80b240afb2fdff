"""What the routes work with: every part is made by bootstrap and may be replaced in a test."""

from dataclasses import dataclass

from sqlalchemy import Engine

from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_recommender.access.callers import Access
from nearfeed_recommender.config.changing import ConfigStore
from nearfeed_recommender.experiments.store import ExperimentStore
from nearfeed_recommender.graphql.sources import GraphSources
from nearfeed_recommender.ledger.outcomes import Joining
from nearfeed_recommender.outbox import Relay
from nearfeed_recommender.readers.profiles import Pooling
from nearfeed_recommender.serving.wiring import Answers
from nearfeed_recommender.settings import RecommenderSettings


@dataclass(frozen=True)
class ApiContext:
    """The parts behind the API."""

    settings: RecommenderSettings
    engine: Engine
    log: EventLog
    store: VectorStore
    answers: Answers
    pooling: Pooling
    relay: Relay
    configuration: ConfigStore
    experiments: ExperimentStore
    graph: GraphSources
    access: Access
    joining: Joining
