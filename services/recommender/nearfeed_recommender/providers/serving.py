"""What providers work with; every part is made by bootstrap and may be replaced in a test."""

from dataclasses import dataclass

from sqlalchemy import Engine

from nearfeed_contracts.vector_store import VectorStore
from nearfeed_recommender.breaker import StoreBreaker
from nearfeed_recommender.config.live import LiveConfig
from nearfeed_recommender.experiments.live import LiveExperiments
from nearfeed_recommender.ledger.writing import Ledger
from nearfeed_recommender.models.registry import Registry
from nearfeed_recommender.providers.candidates import Facts
from nearfeed_recommender.providers.contexts import KeptBySpace
from nearfeed_recommender.providers.kept import Kept
from nearfeed_recommender.providers.newcomers import Newcomers
from nearfeed_recommender.providers.popularity import Popularity
from nearfeed_recommender.readers.user_vectors import Pooling


@dataclass(frozen=True)
class Serving:
    """`deadline_seconds` is how long a source may take of which the configuration says nothing."""

    engine: Engine
    store: VectorStore
    breaker: StoreBreaker
    config: LiveConfig
    experiments: LiveExperiments
    models: Registry
    popularity: Popularity
    newcomers: Newcomers
    pooling: Pooling
    facts: Kept[Facts]
    contexts: KeptBySpace
    vectors: KeptBySpace
    ledger: Ledger
    secret: bytes
    page_ttl_micros: int
    deadline_seconds: float
