"""A provider at work: sources, fusion and filters, rank, less like this, slate. Read `Pipeline.run` first."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import structlog
from prometheus_client import Histogram

from nearfeed_contracts.errors import NearfeedError, public_message
from nearfeed_recommender.catalog.columns import Rows
from nearfeed_recommender.config.schema import Filter
from nearfeed_recommender.pipeline.candidates import Candidates, Trace
from nearfeed_recommender.pipeline.fetch import BUCKETS, Fetches, SourceStage
from nearfeed_recommender.pipeline.fuse import Fuser
from nearfeed_recommender.pipeline.less import LessLikeThis
from nearfeed_recommender.pipeline.query import Query
from nearfeed_recommender.pipeline.rank import Inputs, Ordered, RankStage
from nearfeed_recommender.pipeline.slate import Slate
from nearfeed_recommender.users.state import is_among

logger = structlog.get_logger(__name__)
STEP_SECONDS = Histogram(
    "nearfeed_step_seconds", "Time that a stage of a provider took.", ["provider", "step"], buckets=BUCKETS
)
STAGES = ("sources", "blend", "rank", "less", "slate")


@dataclass(frozen=True)
class RankedList:
    """What a provider (or its fallback) has ranked for a user, best first.

    `kinds` has the kind of reason of each of the candidates' `names`, `filters` the filters that hold.
    `failures` says what it had to do without: by the name of a source, or of a stage. `inputs` are what a
    ranker knew, None without one.
    """

    provider: str
    candidates: Candidates
    kinds: Sequence[str]
    filters: tuple[Filter, ...]
    failures: Mapping[str, str]
    inputs: Inputs | None


@dataclass(frozen=True)
class Pipeline:
    """The stages of a provider. The first `depth` candidates are ranked and laid out."""

    name: str
    sources: Sequence[SourceStage]
    kinds: Sequence[str]
    filters: tuple[Filter, ...]
    fuser: Fuser
    depth: int
    ranking: RankStage
    less: LessLikeThis
    slate: Slate
    fallback: "Pipeline | None" = None

    def __post_init__(self) -> None:
        timers = {stage: STEP_SECONDS.labels(self.name, stage) for stage in STAGES}
        object.__setattr__(self, "_timers", timers)

    def run(
        self, query: Query, fetches: Fetches, without: Rows | None = None, *, explain: bool = False
    ) -> RankedList:
        """The candidates for a user, best first, without those of some rows (sorted).

        Where there are none, those of the fallback. A stage that fails leaves the candidates as they were,
        and is named in `failures`.
        """
        with self._timed("sources"):
            found, source_failures = fetches.collect(self.name, self.sources, self.filters)
        failures = dict(source_failures)
        with self._timed("blend"):
            fused = self.fuser.fuse(found, query.columns, Trace() if explain else None)
            candidates = self._first(fused, without)
        ordered = Ordered(candidates)
        with self._timed("rank"), _guarded(failures, "rank"):
            ordered = self.ranking.order(query, candidates)
        candidates = ordered.candidates
        if query.state.controls.less:
            with self._timed("less"), _guarded(failures, "less"):
                candidates = self.less.order(query.state, query.space, candidates)
        with self._timed("slate"), _guarded(failures, "slate"):
            candidates = self.slate.apply(query, candidates)
        if not len(candidates) and self.fallback is not None:
            other = self.fallback.run(query, fetches, without, explain=explain)
            return replace(other, failures=failures | dict(other.failures))
        return RankedList(self.name, candidates, self.kinds, self.filters, failures, ordered.inputs)

    def _first(self, fused: Candidates, without: Rows | None) -> Candidates:
        """What is ranked; the sources have applied the filters."""
        if without is None or not len(without):
            return fused.take(slice(self.depth))
        return fused.take(np.flatnonzero(~is_among(fused.rows, without))[: self.depth])

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        with self._timers[stage].time():  # type: ignore[attr-defined]
            yield


@contextmanager
def _guarded(failures: dict[str, str], stage: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        expected = isinstance(error, NearfeedError)
        logger.warning("stage failed", stage=stage, error=str(error), exc_info=not expected)
        failures[stage] = public_message(error, f"the step {stage} has failed")
