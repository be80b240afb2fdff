"""Asks the experiments for the provider of each target of an answer."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import Counter
from sqlalchemy import Connection

from nearfeed_recommender.config.schema import Config
from nearfeed_recommender.experiments.assigning import Assignment, ReaderFacts, assign
from nearfeed_recommender.experiments.schema import Place
from nearfeed_recommender.experiments.units import unit_of
from nearfeed_recommender.providers.request import Request
from nearfeed_recommender.providers.serving import Serving

ASSIGNED = Counter("nearfeed_experiment_assignments_total", "Answers of an arm.", ["experiment", "arm"])
MISSING = Counter(
    "nearfeed_experiment_missing_total",
    "Answers whose arm names a provider that is not there.",
    ["experiment"],
)


def choose(
    serving: Serving,
    connection: Connection,
    config: Config,
    request: Request,
    nonce: bytes,
    places: Iterable[Place],
) -> dict[Place, Assignment]:
    """The arms that hold at these places; nothing is asked of SQL where no experiment runs at any.

    An arm that names a provider which the configuration lacks is left out: its reader gets what that says.
    """
    running = serving.experiments.current
    at = [place for place in places if place in running.layers]
    if not at:
        return {}
    unit = unit_of(connection, request.user_id) if running.merged else request.user_id
    facts = ReaderFacts(request.audience.joined, len(request.readings))
    drawn = ((place, assign(running, place, unit, nonce.hex(), request.now, facts)) for place in at)
    return {place: found for place, found in drawn if found is not None and _served(config, found)}


def provider_of(assignment: Assignment | None, otherwise: str) -> str:
    """The provider of an arm; `otherwise` is what the configuration says."""
    return assignment.provider or otherwise if assignment else otherwise


def arms_of(chosen: Mapping[Place, Assignment]) -> list[tuple[int, int]]:
    """The arms of an answer as its request id carries them."""
    return [(found.number, found.index) for found in chosen.values()]


def noted_fields(assignment: Assignment | None, user_id: str) -> dict[str, Any]:
    """What the ledger is told of an arm; the unit where it is not the reader's id."""
    if assignment is None:
        return {}
    return {
        "experiment": assignment.experiment,
        "arm": assignment.arm,
        "propensity": assignment.propensity,
        "unit_id": None if assignment.unit == user_id else assignment.unit,
        "readings": assignment.readings,
    }


def _served(config: Config, found: Assignment) -> bool:
    there = found.provider is None or found.provider in config.providers
    if there:
        ASSIGNED.labels(found.experiment, found.arm).inc()
    else:
        MISSING.labels(found.experiment).inc()
    return there
