"""What a bandit by context knows of a request, the same when it is served and when it is learned from."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import cos, log1p, pi, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfeed_core.experiments.assignment import position
from nearfeed_core.experiments.bandits import LinearArm, linear_propensities
from nearfeed_core.pooling import NEWEST_READINGS
from nearfeed_recommender.experiments.schema import LinTS

NAMES = ("one", "readings", "hour (sine)", "hour (cosine)", "weekend")
DIM = len(NAMES)
DRAWN_BY = "readings_drawn_by"  # of the reader's JSON in the ledger: the readings that the draw knew of
_SATURDAY = 5
_DRAWS = 300  # a chance is then known to a standard error of 3 percent points at most


def context_of(readings: int, served_at: int) -> NDArray[np.float64]:
    """The context (DIM) of a request: the reader's counting readings, and its time (UTC) in microseconds."""
    at = datetime.fromtimestamp(served_at // 1_000_000, UTC)
    angle = 2 * pi * at.hour / 24
    amount = log1p(min(readings, NEWEST_READINGS)) / log1p(NEWEST_READINGS)
    return np.array([1.0, amount, sin(angle), cos(angle), float(at.weekday() >= _SATURDAY)])


def arm_chances(
    allocation: LinTS,
    arms: Sequence[str],
    learned: Mapping[str, Any],
    readings: int,
    served_at: int,
    nonce: str,
) -> tuple[float, ...]:
    """The chance of each arm in a request; what has learned nothing yet draws from the prior."""
    found = [linear_arm(learned.get(arm), allocation) for arm in arms]
    chances = linear_propensities(
        found,
        context_of(readings, served_at)[None, :],
        seed=position("context", nonce, 2**63),
        floor=allocation.floor,
        scale=allocation.scale,
        draws=_DRAWS,
    )
    return tuple(float(chance) for chance in chances[0])


def linear_arm(document: Mapping[str, Any] | None, allocation: LinTS) -> LinearArm:
    """What an arm has learned, from its JSON form; the prior where there is none."""
    if document is None:
        return LinearArm(np.eye(DIM) * allocation.ridge, np.zeros(DIM))
    return LinearArm(np.array(document["precision"]), np.array(document["moment"]))


def arm_document(arm: LinearArm) -> dict[str, Any]:
    """The JSON form of what an arm has learned."""
    return {"precision": arm.precision.tolist(), "moment": arm.moment.tolist()}
