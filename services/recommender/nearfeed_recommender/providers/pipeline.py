"""A provider at work: sources, blend and filters, rank, less like this, slate; read `rank_by` first."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

import structlog
from prometheus_client import Histogram

from nearfeed_contracts.errors import NearfeedError
from nearfeed_recommender.answers.reasons import kind_of
from nearfeed_recommender.config.schema import Config, Diversity, Filter, NearDuplicates, Provider
from nearfeed_recommender.providers.blending import blend
from nearfeed_recommender.providers.candidates import Candidate, Facts
from nearfeed_recommender.providers.fetching import BUCKETS, Fetches
from nearfeed_recommender.providers.filters import keep
from nearfeed_recommender.providers.inputs import Inputs
from nearfeed_recommender.providers.less import less_like
from nearfeed_recommender.providers.ranking import Ordered, order
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving
from nearfeed_recommender.providers.slate import NEW, apply_rules
from nearfeed_recommender.telling import told

logger = structlog.get_logger(__name__)
STEP_SECONDS = Histogram(
    "nearfeed_step_seconds", "Time that a step of a provider took.", ["provider", "step"], buckets=BUCKETS
)


@dataclass(frozen=True)
class Ranked:
    """What a provider (or its fallback) has come to.

    `kinds` has the kinds of reason of the sources by name, `filters` the filters that hold.
    `failures` says what it had to do without: by the name of a source, or of a step. `inputs` are what a
    ranker knew, None without one.
    """

    provider: str
    candidates: list[Candidate]
    kinds: Mapping[str, str]
    filters: tuple[Filter, ...]
    failures: Mapping[str, str]
    inputs: Inputs | None


def rank_by(
    serving: Serving,
    request: Request,
    config: Config,
    name: str,
    fetches: Fetches,
    without: Collection[str] = frozenset(),
) -> Ranked:
    """The provider's candidates for a reader, best first; its fallback's where it has none."""
    provider = config.providers[name]
    with timed(name, "sources"):
        found, failures = fetches.collect(name, provider)
    failures = dict(failures)
    with timed(name, "blend"):
        weights = {source: spec.weight for source, spec in provider.sources.items()}
        blended = (c for c in blend(provider.blend, found, weights) if c.item_id not in without)
        candidates, facts = _kept(serving, request, provider, blended)
    with timed(name, "rank"), _marking(failures, "rank"):
        ordered = Ordered(candidates)
        ordered = order(serving, request, provider.rank, tuple(provider.sources), candidates, facts)
    candidates = ordered.candidates
    if request.audience.controls.less:
        with timed(name, "less"), _marking(failures, "less"):
            candidates = less_like(serving, request, candidates)
    with timed(name, "slate"), _marking(failures, "slate"):
        candidates = _slate(serving, request, provider, candidates, facts)
    if not candidates and provider.fallback:
        other = rank_by(serving, request, config, provider.fallback, fetches, without)
        return replace(other, failures=failures | dict(other.failures))
    kinds = {NEW: NEW} | {source: kind_of(spec) for source, spec in provider.sources.items()}
    return Ranked(name, candidates, kinds, provider.filters, failures, ordered.inputs)


def _kept(
    serving: Serving, request: Request, provider: Provider, blended: Iterator[Candidate]
) -> tuple[list[Candidate], Mapping[str, Facts]]:
    """The first `depth` of the blend that pass the filters, and what they are."""
    kept: list[Candidate] = []
    facts: dict[str, Facts] = {}
    while len(kept) < provider.depth and (some := list(islice(blended, provider.depth))):
        found = serving.facts.of([candidate.item_id for candidate in some])
        kept += keep(some, found, provider.filters, request.audience)
        facts |= found
    return kept[: provider.depth], facts


def _slate(
    serving: Serving,
    request: Request,
    provider: Provider,
    candidates: list[Candidate],
    facts: Mapping[str, Facts],
) -> list[Candidate]:
    models = {rule.model for rule in provider.slate if isinstance(rule, NearDuplicates | Diversity)}
    ids = [candidate.item_id for candidate in candidates]
    spaces = {model: serving.models.space_of(model) or request.space for model in models}
    vectors = {model: serving.contexts.of(space, ids) for model, space in spaces.items() if space and ids}
    return apply_rules(provider.slate, candidates, facts, vectors, request.now)


@contextmanager
def timed(provider: str, step: str) -> Iterator[None]:
    with STEP_SECONDS.labels(provider, step).time():
        yield


@contextmanager
def _marking(failures: dict[str, str], step: str) -> Iterator[None]:
    """A step that fails leaves the candidates as they were, and is marked."""
    try:
        yield
    except Exception as error:
        expected = isinstance(error, NearfeedError)
        logger.warning("step failed", step=step, error=str(error), exc_info=not expected)
        failures[step] = told(error, f"the step {step} has failed")
