"""Sources are fetched at the same time, each within its deadline, and each once for a whole answer."""

import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from functools import partial
from typing import NamedTuple

import structlog
from prometheus_client import Counter, Histogram

from nearfeed_contracts.errors import NearfeedError
from nearfeed_contracts.vector_store import Hit
from nearfeed_recommender.asking import asked
from nearfeed_recommender.config.schema import Provider, Source
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.providers.sources import fetch
from nearfeed_recommender.telling import told

logger = structlog.get_logger(__name__)
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SOURCE_SECONDS = Histogram(
    "nearfeed_source_seconds", "Time that a source took, by its type.", ["type"], buckets=BUCKETS
)
SOURCE_FAILURES = Counter(
    "nearfeed_source_failures_total",
    "Sources that an answer had to do without: failed, or late (after the deadline).",
    ["provider", "source", "reason"],
)


class Asked(NamedTuple):
    """A source that was asked at a time of the monotonic clock."""

    answer: Future[list[Hit]]
    at: float


class Found(NamedTuple):
    """Hits by source, in the provider's order, and by source that has none to give: why."""

    hits: Mapping[str, list[Hit]]
    failures: Mapping[str, str]


class Fetches:
    """The sources of one answer. Not for use by several threads."""

    def __init__(self, serving: Serving, request: Request) -> None:
        self._serving = serving
        self._request = request
        self._asked: dict[object, Asked] = {}

    def start(self, provider: Provider) -> None:
        """Asks those of the provider's sources that have not been asked with these filters."""
        audience = self._request.audience.relaxed(provider.filters)
        for source in provider.sources.values():
            key = _key(source, provider)
            if key not in self._asked:
                question = partial(_timed, self._serving, self._request, source, audience)
                self._asked[key] = Asked(asked(question, f"source-{source.type}"), time.monotonic())

    def collect(self, name: str, provider: Provider) -> Found:
        """What the provider's sources have found by their deadlines."""
        self.start(provider)
        hits: dict[str, list[Hit]] = {}
        failures: dict[str, str] = {}
        for source_name, source in provider.sources.items():
            try:
                hits[source_name] = self._answer(source, provider)[: source.limit]
            except Exception as error:
                failures[source_name] = told(error, f"the source {source.type} has failed")
                reason = "late" if isinstance(error, LateSourceError) else "failed"
                SOURCE_FAILURES.labels(name, source_name, reason).inc()
                logger.warning(
                    "source failed",
                    provider=name,
                    source=source_name,
                    error=str(error),
                    exc_info=not isinstance(error, NearfeedError),
                )
        return Found(hits, failures)

    def _answer(self, source: Source, provider: Provider) -> list[Hit]:
        """Raises what the source raised, and LateSourceError."""
        answer, at = self._asked[_key(source, provider)]
        seconds = source.deadline_ms / 1_000 if source.deadline_ms else self._serving.deadline_seconds
        wait([answer], max(0.0, at + seconds - time.monotonic()))
        if not answer.done():
            raise LateSourceError(f"it has not answered within {seconds * 1_000:.0f} ms")
        return answer.result()


class LateSourceError(NearfeedError):
    """A source that has not answered by its deadline."""


def _key(source: Source, provider: Provider) -> object:
    """What makes two sources the same: all but what is done with their answer."""
    same = source.model_copy(update={"weight": 1.0, "deadline_ms": None})
    return same, frozenset(provider.filters)


def _timed(serving: Serving, request: Request, source: Source, audience: object) -> list[Hit]:
    with SOURCE_SECONDS.labels(source.type).time():
        return fetch(serving, request, source, audience)  # type: ignore[arg-type]
