"""Who gets which arm: a pure function of the experiments that run, the reader's unit and the request."""

from dataclasses import dataclass
from typing import NamedTuple

from nearfeed_contracts.events import HOLDOUT
from nearfeed_core.experiments.assignment import arm_of, drawn, held_out, layer_bucket
from nearfeed_recommender.experiments.bandit_features import arm_chances
from nearfeed_recommender.experiments.live import Running
from nearfeed_recommender.experiments.records import Experiment
from nearfeed_recommender.experiments.schema import Audience, Fixed, LinTS, Place


class ReaderFacts(NamedTuple):
    """What a request knows of its reader: the communities that they joined, how many readings they have."""

    communities: frozenset[str]
    readings: int


@dataclass(frozen=True)
class Assignment:
    """An arm at a target: `provider` is None for what the configuration says.

    `number` and `index` are what request ids carry; `propensity` is the chance with which the arm was to be
    taken, over the reader's hash and, of a bandit, the request's. `readings` are what the draw knew of the
    reader, which bandits learn by.
    """

    experiment: str
    number: int
    arm: str
    index: int
    provider: str | None
    propensity: float
    unit: str
    readings: int = 0


def assign(
    running: Running, place: Place, unit: str, nonce: str, served_at: int, reader: ReaderFacts
) -> Assignment | None:
    """The arm of a unit at a target; None where no experiment applies.

    `nonce` tells the request from others, `served_at` is its time in microseconds since 1970.
    """
    layer = running.layers.get(place)
    experiment = layer.buckets[layer_bucket(layer.name, unit)] if layer else None
    if experiment is None or not _belongs(experiment.design.audience, reader):
        return None
    holdout = experiment.design.holdout
    if held_out(unit, holdout):
        return _assignment(experiment, HOLDOUT, holdout, unit, reader)
    arm, chance = _arm(experiment, unit, nonce, served_at, reader)
    if arm in experiment.traffic.stopped:
        return None
    return _assignment(experiment, arm, chance * (1 - holdout), unit, reader)


def _belongs(audience: Audience, reader: ReaderFacts) -> bool:
    if audience.communities is not None and reader.communities.isdisjoint(audience.communities):
        return False
    least, below = audience.readings_from, audience.readings_below
    return (least is None or reader.readings >= least) and (below is None or reader.readings < below)


def _arm(
    experiment: Experiment, unit: str, nonce: str, served_at: int, reader: ReaderFacts
) -> tuple[str, float]:
    """An arm and its chance: sticky by the unit, or drawn for the request."""
    design, traffic = experiment.design, experiment.traffic
    if isinstance(design.allocation, Fixed):
        arms, chances = tuple(traffic.shares), tuple(traffic.shares.values())
        index = arm_of(design.name, unit, chances)
    else:
        arms = experiment.live_arms
        chances = _chances(experiment, nonce, served_at, reader)
        index = drawn(design.name, f"{unit} {nonce}", chances)
    return arms[index], chances[index]


def _chances(experiment: Experiment, nonce: str, served_at: int, reader: ReaderFacts) -> tuple[float, ...]:
    """Those of a bandit's live arms in a request."""
    allocation, traffic, arms = experiment.design.allocation, experiment.traffic, experiment.live_arms
    if isinstance(allocation, LinTS):
        return arm_chances(allocation, arms, traffic.learned, reader.readings, served_at, nonce)
    total = sum(traffic.shares[arm] for arm in arms)
    return tuple(traffic.shares[arm] / total for arm in arms)


def _assignment(
    experiment: Experiment, arm: str, chance: float, unit: str, reader: ReaderFacts
) -> Assignment:
    return Assignment(
        experiment=experiment.name,
        number=experiment.number,
        arm=arm,
        index=experiment.arms.index(arm),
        provider=experiment.design.arms.get(arm),
        propensity=chance,
        unit=unit,
        readings=reader.readings,
    )
