"""What the routes work with: every part is made by bootstrap and may be replaced in a test."""

from dataclasses import dataclass

from sqlalchemy import Engine

from nearfeed_contracts.event_log import EventLog
from nearfeed_contracts.vector_store import VectorStore
from nearfeed_recommender.access.callers import Access
from nearfeed_recommender.config.editor import ConfigStore
from nearfeed_recommender.experiments.lifecycle import ExperimentStore
from nearfeed_recommender.exposure_log.outcomes import AttributionSettings
from nearfeed_recommender.infra.outbox import Relay
from nearfeed_recommender.serving.wiring import Answers
from nearfeed_recommender.settings import RecommenderSettings
from nearfeed_recommender.users.profiles import Pooling


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
    access: Access
    joining: AttributionSettings
