"""Which variant of an experiment a response belongs to, and what the exposure log keeps of it."""

from collections.abc import Iterable, Mapping

from prometheus_client import Counter

from nearfeed_recommender.config.schema import Config
from nearfeed_recommender.experiments.assignment import Assignment, ReaderFacts, assign
from nearfeed_recommender.experiments.live import LiveExperiments
from nearfeed_recommender.experiments.schema import Place
from nearfeed_recommender.pipeline.query import Query

ASSIGNED = Counter("nearfeed_experiment_assignments_total", "Answers of an arm.", ["experiment", "arm"])
MISSING = Counter(
    "nearfeed_experiment_missing_total",
    "Answers whose arm names a provider that is not there.",
    ["experiment"],
)
Assignments = Mapping[Place, Assignment]


def assign_places(
    experiments: LiveExperiments, config: Config, query: Query, nonce: bytes, places: Iterable[Place]
) -> dict[Place, Assignment]:
    """The variants at these places. `nonce` is that of the request id.

    A variant that names a provider which the configuration lacks is left out: its user gets what that says.
    """
    running = experiments.current
    at = [place for place in places if place in running.layers]
    if not at:
        return {}
    state = query.state
    unit = state.unit if running.merged else state.user_id
    facts = ReaderFacts(state.joined, len(state.newest[0]))
    drawn = ((place, assign(running, place, unit, nonce.hex(), query.now, facts)) for place in at)
    return {place: found for place, found in drawn if found is not None and _is_served(config, found)}


def provider_of(assignment: Assignment | None, otherwise: str) -> str:
    """The provider of a variant; `otherwise` is what the configuration says."""
    return assignment.provider or otherwise if assignment else otherwise


def arms_of(assignments: Assignments) -> list[tuple[int, int]]:
    """The variants of a response as its request id carries them."""
    return [(found.number, found.index) for found in assignments.values()]


def _is_served(config: Config, found: Assignment) -> bool:
    there = found.provider is None or found.provider in config.providers
    if there:
        ASSIGNED.labels(found.experiment, found.arm).inc()
    else:
        MISSING.labels(found.experiment).inc()
    return there
