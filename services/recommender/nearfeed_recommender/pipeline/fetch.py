"""Sources are asked at the same time, each within its deadline, and each once for a whole response."""

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import structlog
from prometheus_client import Counter, Histogram

from nearfeed_contracts.errors import NearfeedError, public_message
from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.infra.threads import Threads, TooBusyError
from nearfeed_recommender.pipeline.candidates import Found
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.sources.source import Source

logger = structlog.get_logger(__name__)
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SOURCE_SECONDS = Histogram(
    "nearfeed_source_seconds", "Time that a source took, by its type.", ["type"], buckets=BUCKETS
)
SOURCE_FAILURES = Counter(
    "nearfeed_source_failures_total",
    "Sources that a response had to do without: failed, or late (after the deadline).",
    ["provider", "source", "reason"],
)
_THREADS = 64


class LateSourceError(NearfeedError):
    """A source that has not answered by its deadline."""


@dataclass(frozen=True)
class SourceStage:
    """A source of a provider. Two with the same `key` find the same posts; `limit` is how many are taken.

    `waits` says that it gets a thread, so that a response goes out without it after `deadline_seconds`.
    """

    name: str
    type: str
    source: Source
    key: Hashable
    limit: int
    deadline_seconds: float
    waits: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "_timer", SOURCE_SECONDS.labels(self.type))

    def run(self, query: Query, filters: tuple[Filter, ...]) -> Found:
        """What the source finds, timed."""
        with self._timer.time():  # type: ignore[attr-defined]
            return self.source.fetch(query, query.eligibility(filters))


class Collected(NamedTuple):
    """What was found by source, in the provider's order, and by source that has nothing to give: why."""

    found: Mapping[str, Found]
    failures: Mapping[str, str]


class _Asked(NamedTuple):
    """`found` is None for a source that has a thread, and so an `answer` to come."""

    found: Found | None
    answer: "Future[Found]"
    at: float


_NO_ANSWER: "Future[Found]" = Future()


class Fetches:
    """The sources of one response. Not for use by several threads.

    Sources that wait for something outside, or have a deadline of their own, get threads of `threads`; the
    others are asked in their turn, while those wait. None is waited for after `due` (time.monotonic), be it
    that of a fallback, so that the response goes out in time.
    """

    def __init__(self, query: Query, threads: Threads, due: float = math.inf) -> None:
        self._query, self._threads, self._due = query, threads, due
        self._asked: dict[Hashable, _Asked] = {}

    def start(self, stages: Sequence[SourceStage], filters: tuple[Filter, ...]) -> None:
        """Asks those sources that wait and have not been asked with these filters."""
        for stage in stages:
            if stage.waits and (stage.key, filters) not in self._asked:
                self._asked[stage.key, filters] = self._submitted(stage, filters)

    def collect(self, provider: str, stages: Sequence[SourceStage], filters: tuple[Filter, ...]) -> Collected:
        """What the sources have found by their deadlines."""
        self.start(stages, filters)
        for stage in stages:
            if (stage.key, filters) not in self._asked:
                self._asked[stage.key, filters] = self._asked_here(stage, filters)
        found: dict[str, Found] = {}
        failures: dict[str, str] = {}
        for stage in stages:
            try:
                rows, scores = self._answer(stage, filters)
                found[stage.name] = Found(rows[: stage.limit], scores[: stage.limit])
            except Exception as error:
                failures[stage.name] = public_message(error, f"the source {stage.type} has failed")
                _count_failure(provider, stage.name, error)
        return Collected(found, failures)

    def _submitted(self, stage: SourceStage, filters: tuple[Filter, ...]) -> _Asked:
        try:
            answer = self._threads.submit(partial(stage.run, self._query, filters))
        except TooBusyError as error:
            answer = Future()
            answer.set_exception(error)
        return _Asked(None, answer, time.monotonic())

    def _asked_here(self, stage: SourceStage, filters: tuple[Filter, ...]) -> _Asked:
        try:
            return _Asked(stage.run(self._query, filters), _NO_ANSWER, 0.0)
        except Exception as error:
            failed: Future[Found] = Future()
            failed.set_exception(error)
            return _Asked(None, failed, 0.0)

    def _answer(self, stage: SourceStage, filters: tuple[Filter, ...]) -> Found:
        """Raises what the source raised, and LateSourceError."""
        found, answer, at = self._asked[stage.key, filters]
        if found is not None:
            return found
        if not answer.done():
            wait([answer], max(0.0, min(at + stage.deadline_seconds, self._due) - time.monotonic()))
        if answer.cancelled() or not answer.done():
            answer.cancel()
            waited = min(stage.deadline_seconds, max(0.0, self._due - at))
            raise LateSourceError(f"it has not answered within {waited * 1_000:.0f} ms")
        return answer.result()


def source_threads() -> Threads:
    """The threads that the sources of all responses of a process share."""
    return Threads("sources", _THREADS)


def _count_failure(provider: str, source: str, error: Exception) -> None:
    reason = "late" if isinstance(error, LateSourceError) else "failed"
    SOURCE_FAILURES.labels(provider, source, reason).inc()
    logger.warning(
        "source failed",
        provider=provider,
        source=source,
        error=str(error),
        exc_info=not isinstance(error, NearfeedError),
    )
